"""Compensate for the raters' reaction delay, in seconds on the grid of 40 ms.

The delay is the number of seconds by which the gold standard lags behind the faces. Crops record how far their labels
were shifted back when they were prepared; scoring compensates for the rest.

AVEC's baseline shifts the gold standard back for training and repeats its last value; it shifts predictions forward for
scoring and repeats their first value. Frames may be missing: the value of a shifted trace at a time t is that of the
last frame at or before the shifted time. Without gaps this is a plain shift.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError
from lq_emotion.metrics.regression import Trace

STEP = 0.04  # seconds between frames
SEARCHED_DELAYS = tuple(round(0.4 * step, 1) for step in range(21))  # the delays that AVEC's baseline tries, 0 to 8 s


def delay_in_frames(seconds: float) -> int:
    """Convert a delay in seconds, finite and not negative, to the nearest number of frames."""
    if not math.isfinite(seconds) or seconds < 0:
        raise DataError(
            "a delay must be 0 s or more", code="out-of-range", field="delay", value=seconds, hint="for example 2.4"
        )
    return round(seconds / STEP)


def grid_index(time: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Convert times in seconds to frame numbers on the grid: 0 s is frame 0, 1 s is frame 25."""
    frames: npt.NDArray[np.int64] = np.rint(np.asarray(time, np.float64).ravel() / STEP).astype(np.int64)
    return frames


def shift_gold(gold: npt.ArrayLike, time: npt.ArrayLike, delay: float) -> Trace:
    """Shift a gold standard (T,) at increasing times (T,) back onto its frames, which it lags by `delay` seconds."""
    return _shift_back(gold, time, delay_in_frames(delay))


def shift(trace: npt.ArrayLike, time: npt.ArrayLike, seconds: float) -> Trace:
    """Shift a trace (T,) at increasing times (T,) forward, or back where `seconds` is negative."""
    frames = delay_in_frames(abs(seconds))
    return _shift_back(trace, time, frames if seconds < 0 else -frames)


def _shift_back(trace: npt.ArrayLike, time: npt.ArrayLike, frames: int) -> Trace:
    values = np.asarray(trace, np.float64).ravel()
    grid = grid_index(time)
    if values.shape != grid.shape:
        raise DataError(f"{values.size} values have {grid.size} times", code="wrong-count", field="time")
    if (np.diff(grid) <= 0).any():
        frame = int(np.flatnonzero(np.diff(grid) <= 0)[0])
        raise DataError(
            f"times must increase: frame {frame + 2} is not after frame {frame + 1}", code="invalid", field="time",
            value=float(np.ravel(time)[frame + 1]),
        )  # fmt: skip
    last_before = np.searchsorted(grid, grid + frames, side="right") - 1
    return values[np.clip(last_before, 0, None)]
