"""Read and write face boxes: the authors' bbox.mat, or a CSV table.

bbox.mat has ``bbox`` (T x 4: left, top, width, height in 1-based pixels; zeros where there is no face) and ``time``
(T x 1, seconds). The table has a header with the columns time, left, top, width and height in any order, and possibly
others, separated by ``,`` or ``;``. `write_boxes` adds the columns frame (from 0) and detected: 1 where a face was
detected, 0 where the box is held from an earlier frame or there is no face.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError
from lq_emotion.common.lists import write_rows
from lq_emotion.common.text_table import Table
from lq_emotion.faces.face import Face
from matlab_ports.matfile import loadmat, savemat

Doubles = npt.NDArray[np.float64]
FOUND = "found"  # the source of boxes that were detected
_COLUMNS = ("time", "left", "top", "width", "height")
_ROUNDING = 1e-3  # seconds that written times may differ by


class TrackedBoxes(NamedTuple):
    """The face boxes of a video."""

    bbox: Doubles
    """(T, 4): left, top, width, height in 1-based pixels; zero where there is no face."""
    time: Doubles
    """(T,) seconds."""
    detected: npt.NDArray[np.bool_]
    """(T,): the face was detected, or interpolated between two detections; in a file, there is a box."""
    held: int = 0
    """Number of frames with the box of the last detection."""
    rejected: int = 0
    """Number of detections that were outliers."""
    source: str = FOUND
    """``found``, or the name of the file of boxes."""


def read_boxes(path: str | Path) -> TrackedBoxes:
    """Read boxes from a MAT-file of any version, or from a table; all must be finite, without negative sizes."""
    path = Path(path)
    bbox, times = _from_mat(path) if path.suffix.lower() == ".mat" else _from_table(path)
    for row, (box, time) in enumerate(zip(bbox, times, strict=True), 1):
        if not (np.isfinite(box).all() and np.isfinite(time)):
            raise DataError(
                f"row {row} is not finite", code="not-finite", file=path, value=[float(time), *box.tolist()]
            )
        if box[2] < 0 or box[3] < 0:
            raise DataError(f"row {row} has a negative size", code="out-of-range", file=path, value=box.tolist())
    return TrackedBoxes(bbox, times, np.asarray(bbox.any(axis=1)), source=path.name)


def boxes_in(folder: Path, name: str) -> Path | None:
    """Return the file of boxes of a recording or clip in a folder, NAME.mat or else NAME.csv; None without one."""
    files = (folder / f"{name}{suffix}" for suffix in (".mat", ".csv"))
    return next((file for file in files if file.is_file()), None)


class Boxes:
    """The faces of a video at any time, from a file of boxes.

    Rows with the same time are several faces; a box without a width is no face.
    """

    def __init__(self, path: str | Path) -> None:
        file = read_boxes(path)
        order = np.argsort(file.time, kind="stable")
        self._times, self._boxes = file.time[order], file.bbox[order]
        steps = np.diff(np.unique(self._times))
        self._reach = 2 * float(np.median(steps)) if len(steps) else np.inf

    def at(self, time: float) -> list[Face]:
        """Return the faces of the last time that is not after this one, nor two steps before it."""
        end = int(np.searchsorted(self._times, time + _ROUNDING, "right"))
        if end == 0 or time - self._times[end - 1] > self._reach + _ROUNDING:
            return []
        start = int(np.searchsorted(self._times, self._times[end - 1], "left"))
        boxes = self._boxes[start:end].tolist()
        return [Face(x - 1, y - 1, width, height, float("nan")) for x, y, width, height in boxes if width and height]


def write_boxes(
    path: str | Path, bbox: npt.ArrayLike, time: npt.ArrayLike, *, detected: npt.ArrayLike | None = None
) -> None:
    """Write boxes (T, 4) at times (T,), atomically: bbox.mat of the authors' script or, for another suffix, a table.

    `detected`, (T,) bool, is a column of the table; by default it is true wherever there is a box.
    """
    path = Path(path)
    boxes, times = np.asarray(bbox, np.float64), np.asarray(time, np.float64).reshape(-1)
    flags = boxes.any(axis=-1) if detected is None else np.asarray(detected, bool)
    if boxes.shape != (len(times), 4) or flags.shape != times.shape:
        shapes = f"bbox {boxes.shape}, time {times.shape}, detected {flags.shape}"
        raise DataError(f"{shapes}; expected (T, 4), (T,), (T,)", code="shape-mismatch", file=path)
    if path.suffix.lower() == ".mat":
        savemat(path, {"bbox": boxes, "time": times[:, None]})
        return
    rows: list[Sequence[object]] = [("frame", *_COLUMNS, "detected")]
    for frame, (instant, box) in enumerate(zip(times.tolist(), boxes.tolist(), strict=True)):
        rows.append((frame, f"{instant:.10g}", *(f"{value:.10g}" for value in box), int(flags[frame])))
    write_rows(rows, path)


def _from_mat(path: Path) -> tuple[Doubles, Doubles]:
    variables = loadmat(path, ["bbox", "time"])
    boxes, times = variables["bbox"], variables["time"]
    if boxes.ndim != 2 or boxes.shape[1] != 4 or times.size != len(boxes):
        raise DataError(
            f"bbox is {boxes.shape} and time {times.shape}; expected (T, 4) and (T, 1)",
            code="shape-mismatch", file=path,
        )  # fmt: skip
    if boxes.dtype.kind not in "fiu" or times.dtype.kind not in "fiu":
        raise DataError("bbox and time must be numeric", code="wrong-type", file=path)
    return boxes.astype(np.float64), times.astype(np.float64).reshape(-1)


def _from_table(path: Path) -> tuple[Doubles, Doubles]:
    rows = Table.read(path, _COLUMNS).rows
    table = np.array([[row.number(column) for column in _COLUMNS] for row in rows])
    return table[:, 1:], table[:, 0]
