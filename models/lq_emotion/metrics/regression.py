"""RMSE, CC and CCC of a predicted trace, in three conventions.

All divide the sum of squared differences in RMSE by N. They differ in what covariance and variance are divided by:

=============  ==========  =========  =====================================================================
convention     covariance  variance   who
=============  ==========  =========  =====================================================================
``avec``       N           N - 1      AVEC's official script and the authors' run_eval.m; the default
``population``  N          N          Lin's definition; most papers since
``sample``     N - 1       N - 1      torchmetrics
=============  ==========  =========  =====================================================================

On a partition of 67,000 frames they agree to four digits; on four frames they do not: the vectors
[2.5, 0, 2, 8] and [3, -0.5, 2, 7] have a CCC of .733301, .976789 and .977735.

A constant trace has no correlation: CC is NaN. Its CCC is 0, as it agrees with nothing (the authors' script, which
computes CCC from CC, has NaN there).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError

Convention = Literal["avec", "population", "sample"]
CONVENTIONS: tuple[Convention, ...] = get_args(Convention)
Trace = npt.NDArray[np.float64]
_DIVIDED_BY_LESS_ONE = {"avec": (0, 1), "population": (0, 0), "sample": (1, 1)}  # covariance, variance


class Score(NamedTuple):
    """How far predictions are from the gold standard.

    Attributes
    ----------
    frames : pairs that were compared.
    rmse, cc, ccc : NaN where they are not defined.
    """

    frames: int
    rmse: float
    cc: float
    ccc: float


class _Moments(NamedTuple):
    difference: float  # of the means
    covariance: float
    variances: tuple[float, float]


def rmse(prediction: npt.ArrayLike, gold: npt.ArrayLike) -> float:
    """Return the root of the mean squared difference; pairs with a NaN are left out.

    Raises
    ------
    DataError
        The traces have different lengths, or no pair of numbers.
    """
    a, b = _pairs(prediction, gold)
    return _rmse(a, b)


def cc(prediction: npt.ArrayLike, gold: npt.ArrayLike, convention: Convention = "avec") -> float:
    """Return the correlation coefficient, times (N - 1) / N by the convention ``avec``; NaN for a constant trace.

    Raises
    ------
    DataError
        As `rmse` does, or for an unknown convention.
    """
    return _cc(_moments(*_pairs(prediction, gold), convention))


def ccc(prediction: npt.ArrayLike, gold: npt.ArrayLike, convention: Convention = "avec") -> float:
    """Return the concordance correlation coefficient; 0 for a constant trace.

    Raises
    ------
    DataError
        As `rmse` does, or for an unknown convention.
    """
    return _ccc(_moments(*_pairs(prediction, gold), convention))


def score(prediction: npt.ArrayLike, gold: npt.ArrayLike, convention: Convention = "avec") -> Score:
    """Return all three, and the number of pairs: those with a NaN on either side are left out.

    Parameters
    ----------
    prediction, gold : (T,) each.
    convention : see the module.

    Raises
    ------
    DataError
        The traces have different lengths, or no pair of numbers.
    """
    a, b = _pairs(prediction, gold)
    moments = _moments(a, b, convention)
    return Score(a.size, _rmse(a, b), _cc(moments), _ccc(moments))


def mean_of(scores: Sequence[Score]) -> Score:
    """Return the mean of several recordings' scores, as AVEC 2018 ranks; the frames are added up.

    A NaN among them gives NaN: a recording is not left out silently.
    """
    columns = list(zip(*scores, strict=True))
    return Score(sum(columns[0]), *(float(np.mean(column)) for column in columns[1:]))


def _pairs(prediction: npt.ArrayLike, gold: npt.ArrayLike) -> tuple[Trace, Trace]:
    a, b = (np.asarray(values, np.float64).ravel() for values in (prediction, gold))
    if a.shape != b.shape:
        raise DataError(f"{a.size} predictions for {b.size} values of the gold standard")
    there = ~(np.isnan(a) | np.isnan(b))
    if not there.any():
        raise DataError("there is no frame with both a prediction and a gold standard")
    return a[there], b[there]


def _sum(values: Trace) -> float:
    return float(
        np.cumsum(values)[-1]
    )  # first to last, as MATLAB's own scripts are compared with (matlab_ports.run_eval)


def _rmse(a: Trace, b: Trace) -> float:
    return float(np.sqrt(_sum((a - b) ** 2) / a.size))


def _moments(a: Trace, b: Trace, convention: str) -> _Moments:
    if convention not in _DIVIDED_BY_LESS_ONE:
        raise DataError("is unknown", field="convention", value=convention, hint=", ".join(CONVENTIONS))
    together, alone = (a.size - less for less in _DIVIDED_BY_LESS_ONE[convention])
    means = [_sum(values) / a.size for values in (a, b)]
    # rounding of the mean would give a constant trace a variance
    centred = [
        np.zeros_like(values) if values.min() == values.max() else values - mean
        for values, mean in zip((a, b), means, strict=True)
    ]
    if not together or not alone:
        return _Moments(means[0] - means[1], np.nan, (np.nan, np.nan))
    return _Moments(
        means[0] - means[1],
        _sum(centred[0] * centred[1]) / together,
        (_sum(centred[0] ** 2) / alone, _sum(centred[1] ** 2) / alone),
    )


def _cc(moments: _Moments) -> float:
    scale = float(np.sqrt(moments.variances[0]) * np.sqrt(moments.variances[1]))
    return moments.covariance / scale if scale else float("nan")


def _ccc(moments: _Moments) -> float:
    apart = sum(moments.variances) + moments.difference**2
    return 2 * moments.covariance / apart if apart else float("nan")  # two equal constants: 0/0
