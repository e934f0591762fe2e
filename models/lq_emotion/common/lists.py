"""Lines, rows of CSV and lists of files, written complete or not at all, and names sorted as people order them."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from caffe_compat.formats.files import atomic_path


def natural_key(name: str) -> list[tuple[int, str]]:
    """Return a sort key: ``frame_2`` before ``frame_10``."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def write_list(files: Sequence[Path], path: Path) -> None:
    """Write a list of HDF5 files with names relative to the list, so that both can be moved together."""
    write_lines([_relative(file, path) for file in files], path)


def write_lines(lines: Sequence[str], path: Path) -> None:
    """Write lines, complete or not at all."""
    with atomic_path(path) as partial:
        partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_rows(rows: Iterable[Iterable[object]], path: Path) -> None:
    """Write rows of a CSV file, complete or not at all."""
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def _relative(file: Path, path: Path) -> str:
    name = Path(os.path.relpath(file.resolve(), path.parent.resolve())).as_posix()
    name = name if name.startswith("../") else f"./{name}"
    return name if len(name.split()) == 1 else f'"{name}"'
