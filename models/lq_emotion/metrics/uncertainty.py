"""Confidence in a score of few recordings: jackknife over recordings, a paired permutation test, spread over seeds.

The scores are RMSE, CC and CCC of all recordings joined into one sequence. Frames of a recording resemble each other,
so the unit that is left out, or exchanged, is a recording. Its `Moments` are all that the scores need of it; those of
any set of recordings are combined as Chan, Golub and LeVeque (1983) combine partial variances.

- An interval is the score, and on either side its jackknife deviation over recordings (Efron and Tibshirani 1993) times
  the quantile of Student's t with R - 1 degrees of freedom: on the scale of log RMSE and of Fisher's z; of a difference
  in CCC on its own scale. How often such intervals cover the score is in docs/evaluation.md (`benchmarks/coverage.py`).
- The test asks whether two methods are exchangeable on each recording: it exchanges their predictions of a recording,
  in all 2^R ways, or in random ones if there are more than `n_resamples` (then p includes the arrangement observed, as
  Phipson and Smyth 2010 ask). For R recordings the smallest two-sided p is 2 / 2^R.
- Several seeds of a method are trainings that differ in nothing else. Its score is the mean of their scores; recordings
  are left out or exchanged for all seeds together. Intervals and tests are therefore about these trainings on other
  recordings; the spread over seeds is a number of its own (`spread`).

A score that is undefined is NaN, and so is every interval and p that would need it: nothing is left out silently.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError
from lq_emotion.common.records import Record
from lq_emotion.metrics.regression import MEASURES, Convention, Score, degrees_lost, valid_pairs

LEVEL = 0.95
RESAMPLES = 9999
_BATCH = 500  # resamples at a time, which bounds the memory
Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Trainings = Sequence[Sequence["Moments"]]
"""The moments of a method: for each seed those of the recordings, in one order."""


@dataclass(frozen=True)
class Moments(Record):
    """The moments of a recording's predictions and gold standard that the scores need.

    There are means, and sums of squares and products of the deviations from them.
    """

    frames: int
    """Number of frames with both values."""
    prediction: float
    gold: float
    prediction_squares: float
    gold_squares: float
    products: float
    squared_errors: float
    """Sum of the squared differences of prediction and gold standard."""

    @classmethod
    def of(cls, prediction: npt.ArrayLike, gold: npt.ArrayLike) -> Moments:
        """Return the moments of a recording's traces (T,); a frame with a NaN is left out."""
        pair = valid_pairs(prediction, gold)
        # the rounded mean would give a constant trace a variance
        means = [float(values[0] if np.ptp(values) == 0 else values.mean()) for values in pair]
        a, b = (values - mean for values, mean in zip(pair, means, strict=True))
        squares = float(np.sum((pair[0] - pair[1]) ** 2))
        return cls(
            a.size, means[0], means[1], float(np.sum(a * a)), float(np.sum(b * b)), float(np.sum(a * b)), squares
        )


class Interval(NamedTuple):
    """The ends of an interval; NaN with a single recording, and where a score is undefined or perfect."""

    low: float
    high: float


def wilson(right: int, count: int) -> Interval:
    """Return the 95 % interval of a part of samples (Wilson 1927), as if they were independent of each other."""
    from scipy.stats import binomtest

    ends = binomtest(right, count).proportion_ci(LEVEL, method="wilson")
    return Interval(float(ends.low), float(ends.high))


class Spread(NamedTuple):
    """Mean and standard deviation (divisor N - 1) over seeds; the latter is NaN for a single seed."""

    mean: float
    deviation: float


class PairedTest(NamedTuple):
    """The mean CCC over seeds of one method less that of another on the same recordings, as one sequence."""

    difference: float
    interval: Interval
    """Of the difference, over recordings."""
    p: float
    """Two-sided, of the permutation test; NaN where a CCC is undefined."""
    arrangements: int
    """Exchanges that were computed."""
    exact: bool
    """Whether those are all 2^R."""


def joined_score(recordings: Sequence[Moments], convention: Convention = "avec") -> Score:
    """Return the score of recordings joined into one sequence, as `regression.score` computes it from the frames.

    A recording may occur several times.
    """
    table = _table([recordings])
    rmse, cc, ccc = map(float, _mean_scores(table, np.arange(len(recordings)), convention))
    return Score.of(rmse, cc, ccc, sum(moments.frames for moments in recordings))


def spread(values: Sequence[float | None]) -> Spread:
    """Return mean and standard deviation of one or more numbers; an undefined number (None) makes both NaN."""
    numbers = [math.nan if value is None else value for value in values]
    deviation = float(np.std(numbers, ddof=1)) if len(numbers) > 1 else math.nan
    return Spread(float(np.mean(numbers)), deviation)


def jackknife(statistic: Callable[[Indices], Doubles], count: int, level: float = LEVEL) -> Doubles:
    """Return the ends of the jackknife intervals of k statistics of recordings, (k, 2); NaN with a single recording.

    `statistic` returns the values, (k, ...), of sets of recordings given by their indices, (..., R) int64. `count` is
    the number of recordings, or of other units that do not depend on each other.
    """
    from scipy import stats

    every = np.arange(count)
    values = statistic(every)
    if count == 1:
        return np.full((len(values), 2), np.nan)
    without = statistic(np.array([np.delete(every, place) for place in every]))
    with np.errstate(invalid="ignore"):
        deviation = np.sqrt((count - 1) * without.var(axis=1))
        half = stats.t.ppf((1 + level) / 2, count - 1) * deviation
        ends = np.stack([values - half, values + half], axis=1)
    return np.where(np.isfinite(ends), ends, np.nan)


def score_intervals(
    trainings: Trainings, *, convention: Convention = "avec", level: float = LEVEL
) -> dict[str, Interval]:
    """Return the intervals over recordings of a method's "rmse", "cc" and "ccc", from the trainings of each seed."""
    table = _table(trainings)

    def scores(index: Indices) -> Doubles:
        rmse, cc, ccc = _mean_scores(table, index, convention)
        with np.errstate(divide="ignore"):  # RMSE 0, CC 1: no interval
            return np.stack([np.log(rmse), np.arctanh(cc), np.arctanh(ccc)])

    ends = jackknife(scores, table.shape[1], level)
    rmse, cc, ccc = np.exp(ends[0]), np.tanh(ends[1]), np.tanh(ends[2])
    return {name: Interval(*map(float, pair)) for name, pair in zip(MEASURES, (rmse, cc, ccc), strict=True)}


def paired_test(
    first: Trainings,
    second: Trainings,
    *,
    rng: np.random.Generator,
    convention: Convention = "avec",
    n_resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> PairedTest:
    """Compare the CCC of two methods with equally many seeds, on the same recordings in the same order.

    `rng` draws exchanges where there are more than `n_resamples`.
    """
    tables = _table(first), _table(second)
    _require_pairs(*tables)
    count = tables[0].shape[1]
    both = np.concatenate(tables, axis=1)  # the second method's recordings have the indices from `count` on

    def difference(a: Indices, b: Indices, axis: int = -1) -> Doubles:  # noqa: ARG001
        ccc: Doubles = _mean_scores(both, a, convention)[2] - _mean_scores(both, b, convention)[2]
        return ccc

    (ends,) = jackknife(lambda index: difference(index, index + count)[np.newaxis], count, level)
    indices = np.arange(count), np.arange(count) + count
    p, arrangements = _permutation(difference, *indices, rng, n_resamples)
    exact = arrangements == 2**count
    return PairedTest(float(difference(*indices)), Interval(*map(float, ends)), p, arrangements, exact)


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number (Holm 1979); a NaN stays one, and counts as a comparison."""
    adjusted, largest = [math.nan] * len(p), 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=lambda i: (math.isnan(p[i]), p[i]))):
        if not math.isnan(p[i]):
            largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
            adjusted[i] = largest
    return adjusted


def _table(trainings: Trainings) -> Doubles:
    """Return (seeds, recordings, 7) moments in the order of their fields."""
    counts = {len(recordings) for recordings in trainings}
    if not trainings or 0 in counts:
        raise DataError("there are no recordings", code="empty", field="recordings")
    if len(counts) > 1:
        raise DataError("seeds have different numbers of recordings", code="mismatch", field="recordings")
    return np.array([[astuple(moments) for moments in recordings] for recordings in trainings], np.float64)


def _require_pairs(first: Doubles, second: Doubles) -> None:
    for axis, field in enumerate(("seeds", "recordings")):
        if first.shape[axis] != second.shape[axis]:
            problem = f"one method has {first.shape[axis]} {field}, the other {second.shape[axis]}"
            raise DataError(problem, code="mismatch", field=field)
    different = np.flatnonzero((first[..., 0] != second[..., 0]).any(axis=0))
    if different.size:
        number = int(different[0])
        frames = tuple(int(table[0, number, 0]) for table in (first, second))
        problem = f"recording {number + 1} has {frames[0]} frames for one method, {frames[1]} for the other"
        raise DataError(problem, code="mismatch", field="frames")


def _mean_scores(table: Doubles, index: Indices, convention: Convention) -> Doubles:
    """Return (3, ...) mean RMSE, CC and CCC over seeds of the recordings `index`, (..., R), as one sequence."""
    frames, prediction, gold, pp, gg, pg, errors = np.moveaxis(table[:, index], -1, 0)
    total = frames.sum(axis=-1)
    a, b = (_deviations(frames, means) for means in (prediction, gold))
    gap = (frames * (prediction - gold)).sum(axis=-1) / total
    covariance_divisor, variance_divisor = (total - lost for lost in degrees_lost(convention))
    with np.errstate(divide="ignore", invalid="ignore"):
        covariance = (pg + frames * a * b).sum(axis=-1) / covariance_divisor
        variances = [(squares + frames * d * d).sum(axis=-1) / variance_divisor for squares, d in ((pp, a), (gg, b))]
        rmse = np.sqrt(errors.sum(axis=-1) / total)
        cc = covariance / (np.sqrt(variances[0]) * np.sqrt(variances[1]))  # 0 / 0 where a trace is constant
        ccc = 2 * covariance / (variances[0] + variances[1] + gap**2)
    scores: Doubles = np.stack([rmse, cc, ccc]).mean(axis=1)
    return scores


def _deviations(frames: Doubles, means: Doubles) -> Doubles:
    """Return the recordings' means less that of all their frames: exactly 0 where they are equal."""
    total = (frames * means).sum(axis=-1, keepdims=True) / frames.sum(axis=-1, keepdims=True)
    first = means[..., :1]
    deviations: Doubles = means - np.where((means == first).all(axis=-1, keepdims=True), first, total)
    return deviations


def _permutation(
    statistic: Callable[..., Any], first: Indices, second: Indices, rng: np.random.Generator, n_resamples: int
) -> tuple[float, int]:
    """Return two-sided p, and the number of arrangements."""
    from scipy import stats

    if len(first) == 1:
        return (math.nan if math.isnan(float(statistic(first, second))) else 1.0), 2
    result = stats.permutation_test(
        (first, second), statistic, permutation_type="samples", vectorized=True, n_resamples=n_resamples,
        batch=_BATCH, rng=rng,
    )  # fmt: skip
    undefined = bool(np.isnan(result.null_distribution).any()) or math.isnan(float(result.statistic))
    return (math.nan if undefined else float(result.pvalue)), len(result.null_distribution)
