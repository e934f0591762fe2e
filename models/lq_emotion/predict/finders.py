"""What finds faces: a detector by its name, or a file of boxes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from caffe_compat.errors import DataError, FileError
from lq_emotion.faces.boxfiles import read_boxes
from lq_emotion.faces.face import Face
from lq_emotion.video.frames import Frame

DETECTORS = ("mtcnn", "ultra-light", "ultra-light-slim", "haar")
_ROUNDING = 1e-3  # seconds that written times may differ by


class Boxes:
    """The faces of one video as a file of boxes has them; see `faces.boxfiles`.

    Parameters
    ----------
    path : MAT-file or table. Rows with the same time are several faces; a box without a width is no face.

    Raises
    ------
    CaffeCompatError
        The file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        file = read_boxes(path)
        order = np.argsort(file.time, kind="stable")
        self._times, self._boxes = file.time[order], file.bbox[order]
        steps = np.diff(np.unique(self._times))
        self._reach = 2 * float(np.median(steps)) if len(steps) else np.inf

    def __call__(self, frames: Sequence[Frame]) -> list[list[Face]]:
        """Return the boxes of the last time that is not after the frame's, nor two steps before it."""
        return [self._of(frame.time) for frame in frames]

    def _of(self, time: float) -> list[Face]:
        end = int(np.searchsorted(self._times, time + _ROUNDING, "right"))
        if end == 0 or time - self._times[end - 1] > self._reach + _ROUNDING:
            return []
        start = int(np.searchsorted(self._times, self._times[end - 1], "left"))
        boxes = self._boxes[start:end].tolist()
        return [Face(x - 1, y - 1, width, height, float("nan")) for x, y, width, height in boxes if width and height]


def boxes_for(where: Path, stem: str) -> Path:
    """Return the file of boxes for a source: the file itself, or NAME.csv or NAME.mat in a folder.

    Raises
    ------
    FileError
        There is none.
    """
    if not where.is_dir():
        return where
    for suffix in (".csv", ".mat"):
        if (path := where / f"{stem}{suffix}").is_file():
            return path
    raise FileError(f"holds neither {stem}.csv nor {stem}.mat", code="file-missing", file=where, field="--detector")


def require_detector(name: str) -> None:
    """Refuse a detector that is neither known by name nor a path of boxes.

    Raises
    ------
    DataError
    """
    if name not in DETECTORS and not Path(name).exists():
        hint = f"use {', '.join(DETECTORS)}, or the path of a file or folder of boxes"
        raise DataError("unknown detector", code="name-unknown", field="--detector", value=name, hint=hint)
