"""Leave out frames, by their times, so that fewer per second remain."""

from __future__ import annotations

import math
from collections.abc import Callable

from caffe_compat.errors import DataError

_ROUNDING = 1e-6  # of a slot: times of containers are rounded


def thin(fps: float | None) -> Callable[[float], bool]:
    """Return a function that tells, for the time of each frame in turn, in seconds, whether it remains.

    Time is divided into slots of 1 / `fps` from the first frame on; the first frame of each slot remains.

    Parameters
    ----------
    fps : at most so many frames per second; None keeps all.

    Raises
    ------
    DataError
        `fps` is not above 0.
    """
    if fps is None:
        return lambda _: True
    if not (math.isfinite(fps) and fps > 0):
        raise DataError("out of range", code="out-of-range", field="fps", value=fps, hint="more than 0")
    start, last = math.nan, -1

    def remains(time: float) -> bool:
        nonlocal start, last
        start = time if math.isnan(start) else start
        slot = math.floor((time - start) * fps + _ROUNDING)
        if slot <= last:
            return False
        last = slot
        return True

    return remains
