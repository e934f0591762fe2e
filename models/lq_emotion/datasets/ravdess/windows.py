"""The frames of a clip that a net sees: a window of 30.

The second paper states neither which 30 frames it takes nor, exactly, how shorter clips become 30 ("if the video was
shorter than 40 frames I repeat frames until we get 30"). A window of neighbouring frames begins again with the clip's
first frame after its last one; a uniform window shows frames of a shorter clip several times in a row.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError

Integers = npt.NDArray[np.int64]
LENGTH = 30


class Window(StrEnum):
    """Which frames: the first, those in the middle, or frames from the whole clip at equal distances."""

    START = "start"
    CENTRE = "centre"
    UNIFORM = "uniform"


def window_frames(count: int, window: Window, *, length: int = LENGTH) -> Integers:
    """Return the frames of a window, (length,), of a clip of `count` frames."""
    for name, value in (("count", count), ("length", length)):
        if value < 1:
            raise DataError("must be at least 1", code="out-of-range", field=name, value=value)
    if window == Window.UNIFORM:
        return np.asarray((2 * np.arange(length) + 1) * count // (2 * length), np.int64)
    first = (count - length) // 2 if window == Window.CENTRE and count > length else 0
    return np.asarray((first + np.arange(length)) % count, np.int64)
