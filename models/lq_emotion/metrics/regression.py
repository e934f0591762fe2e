"""RMSE, CC and CCC of a predicted trace, in three conventions.

RMSE divides by N in all of them. They differ in the divisors of covariance and variance:

=============  ==========  =========  =====================================================================
convention     covariance  variance   used by
=============  ==========  =========  =====================================================================
``avec``       N           N - 1      AVEC's official script and the authors' run_eval.m; the default
``population``  N          N          Lin's definition; most papers since
``sample``     N - 1       N - 1      torchmetrics
=============  ==========  =========  =====================================================================

On a partition of 67,000 frames they agree to four digits; on four frames they do not: the CCC of [2.5, 0, 2, 8] and
[3, -0.5, 2, 7] is .733301, .976789 and .977735.

The CC of a constant trace is NaN and its CCC is 0 (NaN in the authors' script, which computes CCC from CC).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError
from lq_emotion.common.records import Record

Convention = Literal["avec", "population", "sample"]
CONVENTIONS: tuple[Convention, ...] = get_args(Convention)
MEASURES = ("rmse", "cc", "ccc")
Trace = npt.NDArray[np.float64]
_DEGREES_LOST = {"avec": (0, 1), "population": (0, 0), "sample": (1, 1)}  # divisor N - k: covariance, variance


@dataclass(frozen=True)
class Score(Record):
    """Agreement of predictions with the gold standard, measured or published, or the difference of two such scores.

    A number that is undefined is None.
    """

    rmse: float | None
    cc: float | None
    ccc: float | None
    frames: int | None = None
    """Number of frames compared; None for scores that are not measured."""

    @classmethod
    def of(cls, rmse: float, cc: float, ccc: float, frames: int) -> Score:
        """Return the score of numbers that are NaN where undefined."""
        return cls(defined(rmse), defined(cc), defined(ccc), frames)

    def __sub__(self, other: Score) -> Score:
        """Return the differences; None where either score is undefined."""

        def difference(a: float | None, b: float | None) -> float | None:
            return None if a is None or b is None else a - b

        return Score(difference(self.rmse, other.rmse), difference(self.cc, other.cc), difference(self.ccc, other.ccc))


def ccc(prediction: npt.ArrayLike, gold: npt.ArrayLike, convention: Convention = "avec") -> float:
    """Compute the concordance correlation coefficient (Lin 1989) of two traces (T,); 0 for a constant trace."""
    return _correlations(*valid_pairs(prediction, gold), convention)[1]


def score(prediction: npt.ArrayLike, gold: npt.ArrayLike, convention: Convention = "avec") -> Score:
    """Compute all three scores of two traces (T,) over the frames that have both values.

    In the convention ``avec`` the CC is (N - 1) / N times the usual one.
    """
    a, b = valid_pairs(prediction, gold)
    rmse = float(np.sqrt(_sum((a - b) ** 2) / a.size))
    return Score.of(rmse, *_correlations(a, b, convention), a.size)


def mean_score(scores: Sequence[Score]) -> Score:
    """Average scores, of recordings as AVEC 2018's ranking does, or of seeds; frames are summed.

    An undefined score makes the mean undefined: no recording is left out silently.
    """
    columns = [[getattr(score, name) for score in scores] for name in MEASURES]
    rmse, cc, ccc = (None if None in column else float(np.mean(column)) for column in columns)
    return Score(rmse, cc, ccc, sum(score.frames or 0 for score in scores))


def defined(value: float) -> float | None:
    """Return a number, or None for NaN."""
    return None if math.isnan(value) else float(value)


def valid_pairs(prediction: npt.ArrayLike, gold: npt.ArrayLike) -> tuple[Trace, Trace]:
    """Return predictions and labels of the frames that have both; refuse traces without any, or of other lengths."""
    a, b = (np.asarray(values, np.float64).ravel() for values in (prediction, gold))
    if a.shape != b.shape:
        raise DataError(
            f"predictions have {a.size} frames, the gold standard {b.size}", code="wrong-count", field="prediction"
        )
    valid = ~(np.isnan(a) | np.isnan(b))
    if not valid.any():
        raise DataError("no frame has both a prediction and a gold standard", code="empty")
    return a[valid], b[valid]


def degrees_lost(convention: Convention) -> tuple[int, int]:
    """Return by how much the divisors of covariance and variance are less than the number of frames."""
    if convention not in _DEGREES_LOST:
        raise DataError(
            "unknown convention", code="name-unknown", field="convention", value=convention,
            hint=f"choose one of {', '.join(CONVENTIONS)}",
        )  # fmt: skip
    return _DEGREES_LOST[convention]


def _sum(values: Trace) -> float:
    return float(np.cumsum(values)[-1])  # in order, as MATLAB sums (matlab_ports.run_eval is compared with it)


def _correlations(a: Trace, b: Trace, convention: Convention) -> tuple[float, float]:
    """Return CC and CCC of two traces; NaN where undefined."""
    covariance_divisor, variance_divisor = (a.size - lost for lost in degrees_lost(convention))
    if not covariance_divisor or not variance_divisor:
        return float("nan"), float("nan")
    means = [_sum(values) / a.size for values in (a, b)]
    # the rounded mean would give a constant trace a variance
    centred = [
        np.zeros_like(values) if values.min() == values.max() else values - mean
        for values, mean in zip((a, b), means, strict=True)
    ]
    covariance = _sum(centred[0] * centred[1]) / covariance_divisor
    variances = [_sum(values**2) / variance_divisor for values in centred]
    scale = float(np.sqrt(variances[0]) * np.sqrt(variances[1]))
    apart = sum(variances) + (means[0] - means[1]) ** 2
    cc = covariance / scale if scale else float("nan")
    return cc, 2 * covariance / apart if apart else float("nan")  # two equal constants: 0/0
