"""Build the rate/accuracy table from coded clips and a net's predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError
from lq_emotion.common.records import Record
from lq_emotion.crops.versions import Version
from lq_emotion.metrics.uncertainty import LEVEL, jackknife
from lq_emotion.studies.cloud_robotics.link.table import Content, OperatingPoint, RateTable

_HIGH = 95  # percentile of the rate over clips


@dataclass(frozen=True)
class ClipCost(Record):
    """What a clip costs: its length in seconds, the bits of all frames, and those of the largest."""

    seconds: float
    bits: float
    largest_bits: float

    @property
    def kbps(self) -> float:
        """Mean rate in 1000 bits per second."""
        return self.bits / self.seconds / 1000


@dataclass(frozen=True)
class MeasuredCell(Record):
    """Clips of a coded version: what they cost, and how they were classified.

    Attributes
    ----------
    version : coded at a QP.
    costs : of each clip; the bits are those of whole frames.
    correct : whether each clip was classified correctly.
    actors : of each clip, or empty; where given, they are what the interval draws.
    """

    version: Version
    costs: tuple[ClipCost, ...]
    correct: tuple[bool, ...]
    actors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.version.qp is None:
            raise DataError("uncoded clips have no bits", code="out-of-range", field="version", value=self.version.name)
        if not self.costs:
            raise DataError("there are no clips", code="empty", field="costs")
        if len(self.correct) != len(self.costs) or len(self.actors) not in (0, len(self.costs)):
            counts = (len(self.costs), len(self.correct), len(self.actors))
            raise DataError("costs, correct, actors differ in length", code="mismatch", field="clips", value=counts)


def clip_cost(times: npt.ArrayLike, bits: npt.ArrayLike) -> ClipCost:
    """Return what a coded clip costs; its last frame lasts as long as the mean of the others.

    Parameters
    ----------
    times : (T,) seconds.
    bits : (T,) of each frame.

    Raises
    ------
    DataError
        The clip is uncoded, or has a single frame, whose duration is unknown.
    """
    starts, coded = np.asarray(times, np.float64), np.asarray(bits, np.float64)
    if not np.isfinite(coded).all():
        raise DataError("uncoded clips have no bits", code="out-of-range", field="bits", hint="a version with a QP")
    count = len(starts)
    if count < 2:
        raise DataError("a rate needs two frames or more", code="out-of-range", field="times", value=count)
    seconds = float(starts[-1] - starts[0]) * count / (count - 1)
    return ClipCost(seconds, float(coded.sum()), float(coded.max()))


def operating_points(cells: Sequence[MeasuredCell], model: str) -> RateTable:
    """Return the table of measured cells: an operating point for each, of whole frames, scored by accuracy.

    Raises
    ------
    DataError
        There are no cells.
    """
    if not cells:
        raise DataError("there are no cells", code="empty", field="cells")
    return RateTable(tuple(_point(cell, model) for cell in cells))


def _point(cell: MeasuredCell, model: str) -> OperatingPoint:
    version, rates = cell.version, [cost.kbps for cost in cell.costs]
    assert version.qp is not None
    low, high = _interval(cell)
    return OperatingPoint(
        width=version.width, height=version.height, fps=version.fps, codec=version.codec, qp=version.qp,
        kbps=float(np.mean(rates)), kbps_high=float(np.percentile(rates, _HIGH)),
        largest_bits=max(cost.largest_bits for cost in cell.costs), measure="accuracy",
        score=float(np.mean(cell.correct)), low=low, high=high, model=model, content=Content.FRAME, n=len(rates),
    )  # fmt: skip


def _interval(cell: MeasuredCell) -> tuple[float | None, float | None]:
    """Return the ends of the 95 % interval: jackknife over actors, else Wilson's; None for a single actor."""
    correct = np.array(cell.correct, np.float64)
    if not cell.actors:
        from scipy.stats import binomtest

        ends = binomtest(int(correct.sum()), len(correct)).proportion_ci(LEVEL, method="wilson")
        return float(ends.low), float(ends.high)
    names, actor = np.unique(cell.actors, return_inverse=True)
    if len(names) == 1:
        return None, None
    right, clips = np.bincount(actor, correct), np.bincount(actor)
    (ends,) = jackknife(lambda some: (right[some].sum(axis=-1) / clips[some].sum(axis=-1))[np.newaxis], len(names))
    low, high = np.clip(ends, 0, 1).tolist()
    return low, high
