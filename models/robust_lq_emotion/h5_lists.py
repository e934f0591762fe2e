"""The lists that name HDF5 files to train and test with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py

from caffe_compat.errors import CaffeCompatError, DataError, FileError, raise_together


@dataclass(frozen=True)
class Listed:
    """The HDF5 files of one phase.

    Attributes
    ----------
    path : of the list.
    rows : samples in all files.
    identity : what tells the files from others.
    sides : rows of each file's pictures; 0 where it holds none.
    """

    path: Path
    rows: int
    identity: list[Any]
    sides: dict[Path, int] = field(default_factory=dict)


def read_list(folder: Path, phase: str) -> Listed:
    """Read ``train.txt`` or ``test.txt`` and look into the files it names, as HDF5Data will find them.

    Parameters
    ----------
    folder : where the list lies.
    phase : "train" or "test".

    Raises
    ------
    FileError, DataError
        There is no list, or files are missing or damaged: all of them are told.
    """
    path = folder.resolve() / f"{phase}.txt"
    if not path.is_file():
        hint = "lq-emotion h5 writes train.txt and test.txt, which name the HDF5 files"
        raise FileError(f"there is no {phase}.txt here", file=folder, hint=hint)
    names = path.read_text(encoding="utf-8").split()
    if not names:
        raise DataError("names no HDF5 file", file=path, hint="one on each line")
    problems: list[CaffeCompatError] = []
    rows, found = 0, []
    sides: dict[Path, int] = {}
    for name in names:
        file = next((place for place in (Path(name), path.parent / name) if place.is_file()), None)
        if file is None:
            problems.append(DataError("no such HDF5 file", file=path, value=name, hint="write the list again"))
            continue
        try:
            with h5py.File(file, "r") as data:
                shape = data["data"].shape
                rows += int(shape[0])
                sides[file] = int(shape[-1]) if len(shape) == 4 else 0
        except (OSError, KeyError, AttributeError) as error:
            problems.append(DataError(f"this HDF5 file is damaged: {error}", file=file, hint="write it again"))
            continue
        found.append(identity(file))
    raise_together(problems)
    return Listed(path, rows, found, sides)


def identity(path: Path) -> list[Any]:
    """Return what tells a file from another without reading it: name, size and time of change."""
    status = path.stat()
    return [path.name, status.st_size, status.st_mtime_ns]
