"""Make a calibration from answers under known conditions: conformal prediction, grouped by recording.

Errors: a forest learns the error to be expected from size, sharpness, contrast and bits; it never falls as faces become
smaller or bits fewer. An interval is that error times a factor. The factor is MAPIE's split-conformal quantile of the
errors divided by what the forest expects of them, the forest having been learned from other recordings (five folds), in
bands of size that hold enough recordings (Mondrian groups).

Frames of one recording resemble each other, recordings do not: for K recordings the level is raised by the factor
1 + 1 / K, with which the interval holds the label of a frame of a *new* recording as often as it should (Lee, Barber
and Willett, "Distribution-free inference with hierarchical data", 2023). Hence at least ten recordings at 90 %.

Agreement: a forest learns how often the class changes, from the same measures and the probability of the class. For
faces with similar forecasts, by the forest of the other folds, the interval is Clopper and Pearson's, each recording
counted as one trial.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError
from lq_emotion.quality.bounds import CAUSES, CONFIDENCE, FALLING, Agreement, Band, Errors, Likelihood, Step, Widths
from lq_emotion.quality.calibration import Calibration, MadeFrom, Range, Sharpest
from lq_emotion.quality.forest import Forest, learn_forest
from lq_emotion.quality.measures import MEASURES

Doubles = npt.NDArray[np.float64]
Groups = npt.NDArray[np.int64]
_FOLDS = 5
_BANDS, _BAND_RECORDINGS, _BAND_SAMPLES = 4, 20, 1000  # at most so many bands; at least so much in each
_STEPS = 20
_SLACK = 1.25  # an interval is narrow enough up to this factor of that on undegraded faces
_STAYS = 0.8  # default limit of agreement
_MOSTLY = 0.5
_BLIND = ("size", "sharpness", "contrast")  # what is left to learn from where bits are unknown
_KNOWN = (*_BLIND, "bits")
_OUTER = 0.001  # part of the samples beyond each end of a range


@dataclass(frozen=True, eq=False)
class Samples:
    """Answers of a net under known conditions.

    Attributes
    ----------
    recording : (n,), the number of the recording of each.
    scale, qp : (n,), how it was degraded.
    values : (n, 5), conditions; see `measures.table`.
    answers : (n, k), what the net said.
    truth : (n, k), the labels; for a classifier its answers on the undegraded faces.
    """

    recording: Groups
    scale: Doubles
    qp: Doubles
    values: Doubles
    answers: Doubles
    truth: Doubles

    def __len__(self) -> int:
        return len(self.recording)


def make_calibration(
    samples: Samples,
    made_from: MadeFrom,
    dimensions: Sequence[str] = (),
    *,
    level: float = 0.9,
    limit: float | None = None,
) -> Calibration:
    """Make a calibration.

    Parameters
    ----------
    samples : what it is made from.
    made_from : its origin.
    dimensions : names of the net's outputs; empty for a classifier.
    level : part of the estimates whose interval is to hold the label, or of the intervals that are to hold the
        probability of agreement.
    limit : half the width up to which an interval is narrow enough, in the unit of the dimensions, by default 1.25
        times that on the least degraded faces; for a classifier the least probability of agreement, by default 0.8.

    Raises
    ------
    DataError
        There are too few recordings for the level, or MAPIE or scikit-learn is missing.
    """
    require_libraries()
    require_enough(len(np.unique(samples.recording)), level)
    ranges = {
        name: Range(*np.nanquantile(column, [_OUTER, 1 - _OUTER]).tolist())
        for name, column in zip(MEASURES, samples.values.T, strict=True)
    }
    errors = tuple(_errors(samples, place, name, level, limit) for place, name in enumerate(dimensions))
    agreement = None if dimensions else _agreement(samples, level, _STAYS if limit is None else limit)
    return Calibration(level, errors, agreement, ranges, _sharpest(samples), made_from)


def _sharpest(samples: Samples) -> tuple[Sharpest, ...]:
    size, sharpness = samples.values[:, 0], samples.values[:, 1]
    edges = np.unique(np.quantile(size, np.arange(_STEPS) / _STEPS))
    band = np.searchsorted(edges, size, side="right") - 1
    highs = [float(np.quantile(sharpness[band == place], 1 - _OUTER)) for place in range(len(edges))]
    return tuple(Sharpest(edge, high) for edge, high in zip(edges.tolist(), highs, strict=True))


def require_libraries() -> None:
    """Refuse to go on without MAPIE and scikit-learn.

    Raises
    ------
    DataError
    """
    try:
        import mapie.regression  # noqa: F401
        import sklearn.ensemble  # noqa: F401
    except ImportError as error:
        problem, hint = f"{error.name or 'MAPIE'} is not installed", "pip install 'caffe-compat[trust]'"
        raise DataError(problem, code="dependency-missing", hint=hint) from None


def require_enough(recordings: int, level: float) -> None:
    """Refuse fewer recordings than a level needs.

    Raises
    ------
    DataError
    """
    if not 0.5 <= level < 1:
        raise DataError("out of range", code="out-of-range", field="level", value=level, hint="0.5 to 0.99")
    least = max(_FOLDS, math.floor(level / (1 - level) + 1e-9) + 1)
    if recordings < least:
        problem = f"there are {recordings} recordings, {level:.0%} needs at least {least}"
        raise DataError(problem, code="wrong-count", field="recordings", hint="add recordings of other people")


def _errors(samples: Samples, place: int, name: str, level: float, limit: float | None) -> Errors:
    wrong = np.asarray(samples.answers[:, place] - samples.truth[:, place])
    coded, unknown = (_widths(samples, wrong, level, measures) for measures in (_KNOWN, _BLIND))
    least = (samples.scale == samples.scale.min()) & (samples.qp == samples.qp.min())
    undegraded = float(np.median(coded(np.nan_to_num(samples.values[least]))))
    label = samples.truth[:, place]
    factor = _quantile(label - np.median(label), _raised(level, samples.recording))
    bound = limit if limit is not None else float(f"{_SLACK * undegraded:.2g}")
    enough = _enough(_columns(samples), coded(np.nan_to_num(samples.values)) <= bound)
    return Errors(name, bound, undegraded, factor, coded, unknown, enough)


def _columns(samples: Samples) -> dict[str, Doubles]:
    return {name: samples.values[:, MEASURES.index(name)] for name in CAUSES}


def _widths(samples: Samples, wrong: Doubles, level: float, measures: tuple[str, ...]) -> Widths:
    values = np.nan_to_num(samples.values[:, [MEASURES.index(name) for name in measures]])
    forest, expected = _cross_fitted(measures, values, np.abs(wrong), samples.recording)
    ratio = wrong / np.maximum(expected, 1e-9)
    size = samples.values[:, MEASURES.index("size")]
    edges = _band_edges(size, samples.recording)
    bands = []
    for low, high in zip(edges, [*edges[1:], math.inf], strict=True):
        rows = (size >= low) & (size < high)
        bands.append(Band(low, _quantile(ratio[rows], _raised(level, samples.recording[rows]))))
    return Widths(forest, tuple(bands))


def _cross_fitted(
    measures: tuple[str, ...], values: Doubles, target: Doubles, groups: Groups
) -> tuple[Forest, Doubles]:
    """Return the forest of all samples, and for each sample the value of a forest that did not see its recording."""
    from sklearn.model_selection import GroupKFold

    expected, falls = np.empty(len(target)), tuple(name in FALLING for name in measures)
    for learned, others in GroupKFold(_FOLDS, shuffle=True, random_state=0).split(values, groups=groups):
        expected[others] = learn_forest(measures, values[learned], target[learned], falls)(values[others])
    return learn_forest(measures, values, target, falls), expected


def _band_edges(size: Doubles, groups: Groups) -> list[float]:
    """Return the sizes at which bands begin: as many equal parts of the samples as hold enough recordings each."""
    for count in range(_BANDS, 1, -1):
        edges = [0.0, *np.quantile(size, np.arange(1, count) / count).tolist()]
        band = np.searchsorted(edges, size, side="right")
        parts = [band == part for part in range(1, count + 1)]
        if all(rows.sum() >= _BAND_SAMPLES and len(np.unique(groups[rows])) >= _BAND_RECORDINGS for rows in parts):
            return edges
    return [0.0]


def _raised(level: float, groups: Groups) -> float:
    """Return the level for frames of recordings that the calibration does not hold."""
    return min(level * (1 + 1 / len(np.unique(groups))), 1 - 1e-6)


def _quantile(residuals: Doubles, level: float) -> float:
    """Return half the width of MAPIE's interval of constant width around answers with these errors."""
    from mapie.regression import SplitConformalRegressor
    from sklearn.dummy import DummyRegressor

    zeros = np.zeros((len(residuals), 1))
    zero = DummyRegressor(strategy="constant", constant=0.0).fit(zeros[:1], [0.0])
    conformal = SplitConformalRegressor(zero, confidence_level=level, prefit=True).conformalize(zeros, residuals)
    _, interval = conformal.predict_interval(zeros[:1])
    return float(interval[0, 1, 0])


def _agreement(samples: Samples, level: float, limit: float) -> Agreement:
    stays = np.asarray(samples.answers.argmax(axis=1) == samples.truth.argmax(axis=1), np.float64)
    confidence = samples.answers.max(axis=1)
    coded, unknown = (_likelihood(samples, confidence, stays, level, measures) for measures in (_KNOWN, _BLIND))
    low = coded(np.column_stack([np.nan_to_num(samples.values), confidence]))[:, 0]
    enough = _enough({**_columns(samples), CONFIDENCE: confidence}, low >= limit)
    return Agreement(limit, coded, unknown, enough)


def _likelihood(
    samples: Samples, confidence: Doubles, stays: Doubles, level: float, measures: tuple[str, ...]
) -> Likelihood:
    from sklearn.isotonic import IsotonicRegression

    columns = [MEASURES.index(name) for name in measures]
    values = np.column_stack([np.nan_to_num(samples.values[:, columns]), confidence])
    names = (*measures, CONFIDENCE)
    forest, change = _cross_fitted(names, values, 1 - stays, samples.recording)
    edges = np.unique([0.0, *np.quantile(change, np.arange(1, _STEPS) / _STEPS)])
    part = np.searchsorted(edges, change, side="right") - 1
    ends = np.array(
        [_clopper_pearson(stays[part == k], samples.recording[part == k], level) for k in range(len(edges))]
    )
    falling = IsotonicRegression(increasing=False)  # a higher forecast of change raises no end
    ends = np.stack([falling.fit_transform(np.arange(len(ends)), end) for end in ends.T], axis=1)
    return Likelihood(
        forest, tuple(Step(edge, *pair) for edge, pair in zip(edges.tolist(), ends.tolist(), strict=True))
    )


def _clopper_pearson(stays: Doubles, groups: Groups, level: float) -> tuple[float, float]:
    """Return the interval of a probability from the mean over recordings, each counted as one trial."""
    from scipy.stats import beta

    _, members = np.unique(groups, return_inverse=True)
    rates = np.bincount(members, stays) / np.bincount(members)
    count, hits = len(rates), float(rates.sum())
    tail = (1 - level) / 2
    low = float(beta.ppf(tail, hits, count - hits + 1)) if hits > 0 else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, count - hits)) if hits < count else 1.0
    return low, high


def _enough(causes: Mapping[str, Doubles], fine: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Return for each measure the value below which most samples are not fine, if there is one."""
    from sklearn.isotonic import IsotonicRegression

    enough = {}
    for name, column in causes.items():
        finite = np.isfinite(column)
        part = IsotonicRegression().fit_transform(column[finite], fine[finite].astype(float))
        passing = column[finite][part >= _MOSTLY]
        if len(passing) and passing.min() > column[finite].min():
            enough[name] = float(passing.min())
    return enough
