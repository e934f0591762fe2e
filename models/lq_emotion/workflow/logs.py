"""The logs of stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def stage_log(folder: Path, name: str) -> Iterator[Callable[[str], None]]:
    """Yield what adds lines to FOLDER/NAME.log."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name.replace(' ', '_')}.log").open("a", encoding="utf-8", buffering=1) as file:
        yield lambda line: print(line, file=file)
