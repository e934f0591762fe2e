"""Files of face boxes: the authors' bbox.mat, and a table for everybody else.

bbox.mat holds ``bbox`` (T x 4: left, top, width, height in pixels from 1, zero where there is no face) and ``time``
(T x 1, seconds). The table has a header and the columns time, left, top, width, height, in any order, besides others;
it is separated by ``,`` or ``;``. Written, the others are frame, counted from 0, and detected: 1 where a face was
found, 0 where its box was taken over from a neighbour, or there is none.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError, ParseError, did_you_mean
from caffe_compat.formats.files import atomic_path
from matlab_ports.matfile import loadmat, savemat

Doubles = npt.NDArray[np.float64]
_COLUMNS = ("time", "left", "top", "width", "height")


class BoxFile(NamedTuple):
    """Boxes (T, 4) and their times (T,)."""

    bbox: Doubles
    time: Doubles


def read_boxes(path: str | Path) -> BoxFile:
    """Read a .mat of any version, or a table.

    Raises
    ------
    DataError, ParseError, PortError
        The file cannot be read, or does not hold T boxes and T times; a box has a negative size or is not a number.
    """
    path = Path(path)
    found = _from_mat(path) if path.suffix.lower() == ".mat" else _from_table(path)
    for row, (box, time) in enumerate(zip(found.bbox, found.time, strict=True), 1):
        if not (np.isfinite(box).all() and np.isfinite(time)):
            raise DataError(f"row {row} holds what is not a number", file=path, value=[float(time), *box.tolist()])
        if box[2] < 0 or box[3] < 0:
            raise DataError(f"row {row} has a negative size", file=path, value=box.tolist())
    return found


def write_boxes(
    path: str | Path, bbox: npt.ArrayLike, time: npt.ArrayLike, *, detected: npt.ArrayLike | None = None
) -> None:
    """Write bbox.mat in the authors' form or, for any other suffix, a table; complete or not at all.

    Parameters
    ----------
    bbox : (T, 4).
    time : (T,).
    detected : (T,) bool, for a table; by default true wherever there is a box.

    Raises
    ------
    DataError
        The shapes do not fit each other.
    """
    path = Path(path)
    boxes, times = np.asarray(bbox, np.float64), np.asarray(time, np.float64).reshape(-1)
    found = boxes.any(axis=-1) if detected is None else np.asarray(detected, bool)
    if boxes.shape != (len(times), 4) or found.shape != times.shape:
        shapes = f"bbox {boxes.shape}, time {times.shape}, detected {found.shape}"
        raise DataError("boxes, times and detections do not fit", file=path, value=shapes, hint="(T, 4), (T,), (T,)")
    if path.suffix.lower() == ".mat":
        savemat(path, {"bbox": boxes, "time": times[:, None]})
        return
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("frame", *_COLUMNS, "detected"))
        for frame, (instant, box) in enumerate(zip(times.tolist(), boxes.tolist(), strict=True)):
            writer.writerow((frame, f"{instant:.10g}", *(f"{value:.10g}" for value in box), int(found[frame])))


def _from_mat(path: Path) -> BoxFile:
    variables = loadmat(path, ["bbox", "time"])
    boxes, times = variables["bbox"], variables["time"]
    if boxes.ndim != 2 or boxes.shape[1] != 4 or times.size != len(boxes):
        raise DataError(
            f"bbox is {' x '.join(map(str, boxes.shape))} and time {' x '.join(map(str, times.shape))}",
            file=path,
            hint="T x 4 and T x 1",
        )
    if boxes.dtype.kind not in "fiu" or times.dtype.kind not in "fiu":
        raise DataError("bbox or time are no numbers", file=path)
    return BoxFile(boxes.astype(np.float64), times.astype(np.float64).reshape(-1))


def _from_table(path: Path) -> BoxFile:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=path) from None
    except UnicodeDecodeError:
        raise DataError("is no text", file=path, hint=f"a table with the columns {', '.join(_COLUMNS)}") from None
    if not lines:
        raise DataError("is empty", file=path, hint=f"a table with the columns {', '.join(_COLUMNS)}")
    reader = csv.reader(lines, delimiter=";" if ";" in lines[0] else ",")
    try:
        rows = list(reader)
    except csv.Error as error:
        raise ParseError(f"is no row of values: {error}", file=path, line=reader.line_num) from None
    names = [name.strip().lower() for name in rows[0]]
    missing = [name for name in _COLUMNS if name not in names]
    if missing:
        hint = did_you_mean(missing[0], names) or f"it has {', '.join(names)}"
        raise ParseError(f"has no column {missing[0]!r}", file=path, line=1, hint=hint)
    places = [names.index(name) for name in _COLUMNS]
    values = []
    for number, row in enumerate(rows[1:], 2):
        if not row:
            continue
        try:
            values.append([float(row[place]) for place in places])
        except (IndexError, ValueError):
            raise ParseError(f"no number for each of {', '.join(_COLUMNS)}", file=path, line=number) from None
    if not values:
        raise DataError("holds no boxes", file=path)
    table = np.array(values)
    return BoxFile(table[:, 1:], table[:, 0])
