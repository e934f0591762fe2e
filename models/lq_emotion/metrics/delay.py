"""Raters react late: the delay between a face and its gold standard, in seconds on the 40 ms grid.

A delay is one number with one meaning: the seconds by which the gold standard comes after the faces. Crops say
how much of it their labels were shifted back by when they were prepared; the rest is made up for in scoring.

By AVEC's baseline the gold standard is shifted back for training, its last value repeated, and predictions are shifted
forward for scoring, their first value repeated. Frames may be missing here: a shifted trace has, at each of its times,
the value of the last frame at or before the time it comes from. Without gaps that is a plain shift.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError

Trace = npt.NDArray[np.float64]
STEP = 0.04  # seconds between frames
SEARCHED = tuple(round(0.4 * step, 1) for step in range(21))  # the delays of AVEC's baseline, 0 to 8 s


def frames_of(seconds: float) -> int:
    """Return the number of frames nearest to a delay.

    Raises
    ------
    DataError
        It is negative or no number.
    """
    if not math.isfinite(seconds) or seconds < 0:
        raise DataError("is no delay", field="delay", value=seconds, hint="seconds from 0 up, such as 2.4")
    return round(seconds / STEP)


def grid_index(time: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return the frame numbers on the grid of some times in seconds: 0 at 0 s, 25 at 1 s."""
    found: npt.NDArray[np.int64] = np.rint(np.asarray(time, np.float64).ravel() / STEP).astype(np.int64)
    return found


def predictions_forward(prediction: npt.ArrayLike, time: npt.ArrayLike, delay: float) -> Trace:
    """Return predictions as they are to be compared with a gold standard that comes `delay` seconds late.

    Parameters
    ----------
    prediction : (T,).
    time : (T,) seconds, rising; the same times hold afterwards.
    delay : seconds.

    Raises
    ------
    DataError
        Times do not rise or do not fit the predictions, or the delay is negative.
    """
    return _shifted(prediction, time, -frames_of(delay))


def gold_back(gold: npt.ArrayLike, time: npt.ArrayLike, delay: float) -> Trace:
    """Return a gold standard that comes `delay` seconds late as it belongs to the frames; see `predictions_forward`."""
    return _shifted(gold, time, frames_of(delay))


def shifted(prediction: npt.ArrayLike, time: npt.ArrayLike, seconds: float) -> Trace:
    """Return a trace some seconds later, as `predictions_forward` does, or earlier where they are negative."""
    return (gold_back if seconds < 0 else predictions_forward)(prediction, time, abs(seconds))


def _shifted(trace: npt.ArrayLike, time: npt.ArrayLike, frames: int) -> Trace:
    values = np.asarray(trace, np.float64).ravel()
    grid = grid_index(time)
    if values.shape != grid.shape:
        raise DataError(f"{values.size} values at {grid.size} times")
    if (np.diff(grid) <= 0).any():
        frame = int(np.flatnonzero(np.diff(grid) <= 0)[0])
        raise DataError(f"the times do not rise: frame {frame + 2} is not after frame {frame + 1}", field="time")
    last_before = np.searchsorted(grid, grid + frames, side="right") - 1
    return values[np.clip(last_before, 0, None)]
