"""Frame times: seconds on a grid of 40 ms (25 frames per second), on which frames may be missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import Code, DataError
from lq_emotion.common.lists import write_lines
from lq_emotion.common.text_table import Table
from lq_emotion.metrics.delay import STEP, grid_index

Times = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
_TOLERANCE = 0.1 * STEP  # rounded decimals stay far below it; the times of a 30 Hz video do not


def frame_times(path: str | Path) -> Times:
    """Read the frame times of a video: (T,) float64 seconds, in the file's order.

    They are in the column ``time in seconds`` if there is one, else in the second column, as in the authors' script.
    """
    table = Table.read(path)
    column = table.column("time in seconds", 1)
    return np.array([row.number(column) for row in table.rows])


def write_frame_times(times: npt.ArrayLike, path: Path) -> None:
    """Write the table of frame times (T,) of a video that `frame_times` reads, to hundredths of a second."""
    rows = (f"{row};{time:.2f}" for row, time in enumerate(np.asarray(times, np.float64).tolist()))
    write_lines(["frame;time in seconds", *rows], path)


def require_grid(time: npt.ArrayLike, *, where: str | Path | None = None) -> Indices:
    """Return the grid indices of a recording's frame times, (T,) seconds: (T,) int64, strictly increasing from 0 up.

    Times that are not finite, more than 4 ms off the grid, negative, repeated or decreasing are refused, with the file
    `where` they are from.
    """
    times = np.asarray(time, np.float64).ravel()
    if not times.size:
        raise DataError("no frame times", code="empty", file=where)
    _refuse_times(where, times, ~np.isfinite(times), "not-finite", "a time must be finite")
    grid = grid_index(times)
    off = (np.abs(times - grid * STEP) > _TOLERANCE) | (grid < 0)
    _refuse_times(where, times, off, "out-of-range", "off the grid of 0.04 s (25 frames per second from 0)")
    step = np.diff(grid, prepend=-1)
    _refuse_times(where, times, step == 0, "duplicate", "repeats the time above it")
    _refuse_times(where, times, step < 0, "invalid", "earlier than the time above it")
    return grid


def match_times(
    requested: npt.ArrayLike, available: npt.ArrayLike, *, what: str, where: str | Path | None = None
) -> Indices:
    """Find requested times (T,) among the available times (M,), in any order, both on the grid: (T,) int64 indices.

    An error names the data at these times, `what` (``gold standard``), and its file, `where`.
    """
    needed, present = grid_index(requested), grid_index(available)
    unique, first, counts = np.unique(present, return_index=True, return_counts=True)
    if (counts > 1).any():
        problem = f"the {what} repeats the times {_list_times(unique[counts > 1])}"
        raise DataError(problem, code="duplicate", file=where, field="time")
    position = np.minimum(np.searchsorted(unique, needed), max(len(unique) - 1, 0))
    missing = unique[position] != needed if len(unique) else np.ones(len(needed), bool)
    if missing.any():
        total = int(missing.sum())
        raise DataError(
            f"the {what} lacks {total} of {len(needed)} times: {_list_times(needed[missing])}",
            code="mismatch", file=where, field="time", hint="times are matched on the grid of 0.04 s",
        )  # fmt: skip
    return np.asarray(first[position], np.int64)


def snap_times(time: npt.ArrayLike, onto: npt.ArrayLike) -> Times:
    """Replace times by the doubles in `onto` at the same grid index; the others stay.

    The authors' script compares times for equality: 0.12 differs from 0.12000000000000001.
    """
    times, reference = np.asarray(time, np.float64).ravel().copy(), np.asarray(onto, np.float64).ravel()
    grid = grid_index(reference)
    order = np.argsort(grid, kind="stable")
    position = np.minimum(np.searchsorted(grid[order], grid_index(times)), len(grid) - 1)
    same = grid[order][position] == grid_index(times)
    times[same] = reference[order][position][same]
    return times


def _refuse_times(
    where: str | Path | None, times: Times, invalid: npt.NDArray[np.bool_], code: Code, problem: str
) -> None:
    if invalid.any():
        rows = np.flatnonzero(invalid).tolist()
        more = f" (and {len(rows) - 1} more)" if len(rows) > 1 else ""
        field = f"time of row {rows[0] + 1}"
        raise DataError(f"{problem}{more}", code=code, file=where, field=field, value=float(times[rows[0]]))


def _list_times(grid: Indices, limit: int = 5) -> str:
    times = ", ".join(f"{index * STEP:.2f}" for index in grid[:limit].tolist())
    return times + (", ..." if len(grid) > limit else "") + " s"
