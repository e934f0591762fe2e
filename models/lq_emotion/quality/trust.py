"""The verdict on an estimate."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Trust:
    """How far the estimates for one face can be trusted.

    Attributes
    ----------
    low, high : the ends of the interval of each of `Calibration.outputs`: of a dimension, in its own unit; of
        ``agreement``, the probability that the net names the same class as on the undegraded face.
    trusted : whether the intervals are narrow enough, and the conditions among those of the calibration.
    why : if not, why not, in one phrase; else empty.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    trusted: bool
    why: str
