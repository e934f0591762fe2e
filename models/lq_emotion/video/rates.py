"""Leave out frames, by their times, so that fewer per second remain."""

from __future__ import annotations

import math
from collections.abc import Callable

from caffe_compat.errors import DataError

_ROUNDING = 1e-6  # of a slot: times of containers are rounded


def thin(fps: float | None) -> Callable[[float], bool]:
    """Return a function that tells, for the time of each frame in turn, in seconds, whether it remains; None keeps all.

    Time is divided into slots of 1 / `fps` from the first frame on; the first frame of each slot remains.
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
