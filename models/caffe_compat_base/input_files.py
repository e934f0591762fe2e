"""The files that a command reads, none of which it may replace, by whatever name or link."""

from __future__ import annotations

import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

CONFLICT = "would replace a file that is read"
_Identity = tuple[int, int]
_protected: list[frozenset[_Identity]] = []  # of each block that has not ended


@contextmanager
def protecting(paths: Collection[Path]) -> Iterator[None]:
    """Let `is_protected` know these files until the block ends, in all threads of the process."""
    files = frozenset(identity for path in paths if (identity := _identity(path)))
    _protected.append(files)
    try:
        yield
    finally:
        _protected.remove(files)


def is_protected(path: Path) -> bool:
    """Tell whether writing to a path would replace a file that must stay."""
    return (
        bool(_protected)
        and (identity := _identity(path)) is not None
        and any(identity in files for files in _protected)
    )


def inputs_of(arguments: Mapping[str, object], outputs: Collection[str]) -> list[Path]:
    """Return the files that the arguments of a command name, except its outputs: alone, in lists, as NAME=FILE."""
    return [path for name, value in arguments.items() if name not in outputs for path in named_files(value)]


def named_files(value: object) -> Iterator[Path]:
    """Yield the files that the value of an argument names."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from named_files(item)
    elif isinstance(value, str | Path):
        text = str(value)
        words = [text, *text.split(",")] if isinstance(value, str) else [text]
        words += [part for word in words if "=" in word for part in word.split("=", 1)]
        yield from (Path(word) for word in dict.fromkeys(words) if word and _identity(Path(word)))


def _identity(path: Path) -> _Identity | None:
    """Return the identity of a file, the same for all its names; None if there is no such file."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None
