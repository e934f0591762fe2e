"""Frames with their times, their sources, and the choice of some of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import CaffeCompatError, DataError
from lq_emotion.common.settings import Settings, option

Image = npt.NDArray[np.uint8]
_ROUNDING = 1e-6  # of a slot of `thin`: times of containers are rounded


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame of a video, or one of several images."""

    index: int
    """Number in the source, from 0; frames that are left out count too."""
    time: float
    """Seconds since the source's first frame; NaN for images."""
    image: Image
    """(H, W, 3) uint8, red first, upright."""
    bits: float = math.nan
    """Bits in the stream; NaN if unknown."""
    name: str = ""
    """Name of the image's file; empty for videos."""


@dataclass(frozen=True, kw_only=True)
class Selection(Settings):
    """The frames to take from a source; `start` and `end` are included."""

    every: int = option(1, "take every N-th frame", least=1, group="frames")
    start: float = option(0.0, "first time in seconds", least=0, metavar="S", group="frames")
    end: float | None = option(None, "last time in seconds (default: all)", least=0, metavar="S", group="frames")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start > self.until:
            problem = f"must not be after the end, {self.end:g} s"
            raise DataError(problem, code="out-of-range", field="--start", value=self.start)

    @property
    def until(self) -> float:
        """The end; infinity without one."""
        return math.inf if self.end is None else self.end


class Source(Protocol):
    """Yields frames once, in order, one at a time; opened by `open_source`, closed by its ``with`` block.

    Attributes
    ----------
    name : name to show to the user.
    clock : kind of times: ``container``, ``index / RATE``, ``arrival`` or ``none``.
    live : true if frames that are not fetched in time are lost.
    rate : frames per second, as far as known; else 0.
    count : number of selected frames for a progress bar; None if unknown.
    problem : why the frames end before the source should, or which of them are missing; None if all is well.
        Known after the last frame: an error in the middle does not cost the frames before it.
    """

    name: str
    clock: str
    live: bool
    rate: float
    count: int | None
    problem: CaffeCompatError | None

    def __iter__(self) -> Iterator[Frame]: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


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
