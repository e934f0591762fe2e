"""Times of frames: seconds on a grid of 40 ms (25 frames a second), from which frames may be missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError
from lq_emotion.metrics.delay import STEP, grid_index

Times = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
_OFF = 0.1 * STEP  # rounded decimals stay far below; times of a 30 Hz video do not


def require_grid(time: npt.ArrayLike, *, where: str | Path | None = None) -> Indices:
    """Return the places on the grid of the times of a recording.

    Parameters
    ----------
    time : (T,) seconds.
    where : the file the times are from, for the error.

    Raises
    ------
    DataError
        A time is no number, more than 4 ms off the grid, negative, there twice, or earlier than the one before it.
    """
    times = np.asarray(time, np.float64).ravel()
    if not times.size:
        raise DataError("there are no times", file=where)
    _refuse(where, times, ~np.isfinite(times), "is no time")
    grid = grid_index(times)
    off = (np.abs(times - grid * STEP) > _OFF) | (grid < 0)
    _refuse(where, times, off, "is not on the grid of 0.04 s (25 frames a second, from 0)")
    step = np.diff(grid, prepend=-1)
    _refuse(where, times, step == 0, "is there twice")
    _refuse(where, times, step < 0, "is before the time above it")
    return grid


def match(wanted: npt.ArrayLike, there: npt.ArrayLike, *, what: str, where: str | Path | None = None) -> Indices:
    """Return where each wanted time stands among the times that are there, both on the grid.

    Parameters
    ----------
    wanted : (T,) seconds.
    there : (M,) seconds, in any order.
    what : what is there at these times (``gold standard``), for the error.
    where : its file.

    Returns
    -------
    (T,) : indices into `there`, from 0.

    Raises
    ------
    DataError
        Wanted times are missing: the first of them and how many; or a time is there twice.
    """
    needed, present = grid_index(wanted), grid_index(there)
    places, first, counts = np.unique(present, return_index=True, return_counts=True)
    if (counts > 1).any():
        raise DataError(f"the {what} has {_listed(places[counts > 1])} more than once", file=where)
    found = np.minimum(np.searchsorted(places, needed), max(len(places) - 1, 0))
    missing = places[found] != needed if len(places) else np.ones(len(needed), bool)
    if missing.any():
        total = int(missing.sum())
        raise DataError(
            f"the {what} is missing at {total} of {len(needed)} times: {_listed(needed[missing])}",
            file=where, field="time", hint="it is matched on the grid of 0.04 s",
        )  # fmt: skip
    return np.asarray(first[found], np.int64)


def snap(time: npt.ArrayLike, onto: npt.ArrayLike) -> Times:
    """Return times with the very doubles of `onto` wherever both name one place on the grid.

    The authors' script compares times for equality: 0.12 must not meet 0.12000000000000001.
    """
    times, model = np.asarray(time, np.float64).ravel().copy(), np.asarray(onto, np.float64).ravel()
    grid = grid_index(model)
    order = np.argsort(grid, kind="stable")
    place = np.minimum(np.searchsorted(grid[order], grid_index(times)), len(grid) - 1)
    same = grid[order][place] == grid_index(times)
    times[same] = model[order][place][same]
    return times


def _refuse(where: str | Path | None, times: Times, bad: npt.NDArray[np.bool_], problem: str) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        count = int(bad.sum())
        more = f" (and {count - 1} more)" if count > 1 else ""
        raise DataError(f"{problem}{more}", file=where, field=f"time of row {row + 1}", value=float(times[row]))


def _listed(grid: Indices, most: int = 5) -> str:
    shown: Sequence[str] = [f"{place * STEP:.2f}" for place in grid[:most].tolist()]
    return ", ".join(shown) + (", ..." if len(grid) > most else "") + " s"
