"""What finds faces, as users name it: a detector, or a file of boxes."""

from __future__ import annotations

from pathlib import Path

from caffe_compat.errors import DataError, FileError
from lq_emotion.faces.boxfiles import boxes_in
from lq_emotion.nets.known.detectors import DETECTORS


def boxes_for(where: Path, stem: str) -> Path:
    """Return the file of boxes for a source: the file itself, or NAME.mat or NAME.csv in a folder.

    Raises
    ------
    FileError
        There is none.
    """
    if not where.is_dir():
        return where
    if path := boxes_in(where, stem):
        return path
    raise FileError(f"holds neither {stem}.mat nor {stem}.csv", code="file-missing", file=where, field="--detector")


def require_detector(name: str) -> None:
    """Refuse a detector that is neither known by name nor a path of boxes.

    Raises
    ------
    DataError
    """
    if name not in DETECTORS and not Path(name).exists():
        hint = f"use {', '.join(DETECTORS)}, or the path of a file or folder of boxes"
        raise DataError("unknown detector", code="name-unknown", field="--detector", value=name, hint=hint)
