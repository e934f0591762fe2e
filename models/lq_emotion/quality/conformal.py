"""Make a calibration from answers under known conditions: conformal prediction, grouped by recording.

Frames of one recording resemble each other, recordings do not: a recording is the unit of every quantile here.

Errors: a forest learns the error to be expected from size, sharpness, contrast and bits; it never falls as faces become
smaller or bits fewer. An interval is that error times a factor: the quantile of the errors, each divided by what a
forest learned from other recordings (five folds) expects, in bands of size with enough recordings (Mondrian
groups). Each of K recordings weighs 1 / (K + 1), shared equally by its frames, and the rest is at infinity (Lee,
Barber and Willett, "Distribution-free inference with hierarchical data", 2023). What is promised is a mean over new
people, of the share of each one's frames whose interval covers the label. It takes ten recordings at 90 %.

Agreement: a forest learns how often the class changes, from the same measures and the probability of the class. Faces
with similar forecasts, by the forest of the other folds, share a step; steps are joined until agreement falls from each
to the next. The interval of a step is for the mean over people of the share of such faces that keep their class. It is
Clopper and Pearson's, at the effective number of trials (Korn and Graubard 1998): the more the shares differ between
people, the fewer trials a person's faces count as. The correlation of one person's faces is pooled over the steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError
from lq_emotion.quality.bounds import CAUSES, CONFIDENCE, FALLING, Agreement, Errors, Likelihood, Widths
from lq_emotion.quality.calibration import Calibration, MadeFrom
from lq_emotion.quality.forest import Forest, learn_forest
from lq_emotion.quality.measures import MEASURES

Doubles = npt.NDArray[np.float64]
Groups = npt.NDArray[np.int64]
_FOLDS = 5
_BANDS, _BAND_RECORDINGS, _BAND_SAMPLES = 4, 20, 1000  # most bands; least recordings and samples in each
_STEPS = 20
_SLACK = 1.25  # an interval is narrow enough up to this factor of that on undegraded faces
_STAYS = 0.8  # default limit of agreement
_MOSTLY = 0.5
_BLIND = ("size", "sharpness", "contrast")  # measures to learn from where bits are unknown
_KNOWN = (*_BLIND, "bits")
_OUTER = 0.001  # part of the samples beyond each end of a range


@dataclass(frozen=True, eq=False)
class Samples:
    """Answers of a net under known conditions."""

    recording: Groups
    """(n,), number of the recording."""
    scale: Doubles
    qp: Doubles
    """(n,) each, by which the recording was degraded."""
    values: Doubles
    """(n, 5), conditions; see `measures.table`."""
    answers: Doubles
    """(n, k), the net's estimates."""
    truth: Doubles
    """(n, k), the labels; for a classifier its answers on the undegraded faces."""

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
    """Make a calibration from samples; without `dimensions` it is that of a classifier.

    `level` is, of each new person's estimates, the part whose interval is to cover the label, as a mean over people; or
    the part of the intervals that are to cover the probability of agreement. `limit` is half the width up to which an
    interval is narrow enough, in the unit of the dimensions, by default 1.25 times that on the least degraded faces;
    for a classifier the least probability of agreement, by default 0.8.
    """
    require_library()
    require_enough(len(np.unique(samples.recording)), level)
    ranges = {
        name: (float(np.nanquantile(column, _OUTER)), float(np.nanquantile(column, 1 - _OUTER)))
        for name, column in zip(MEASURES, samples.values.T, strict=True)
    }
    errors = tuple(_errors(samples, place, name, level, limit) for place, name in enumerate(dimensions))
    agreement = None if dimensions else _agreement(samples, level, _STAYS if limit is None else limit)
    return Calibration(level, errors, agreement, ranges, _sharpest(samples), made_from)


def _sharpest(samples: Samples) -> tuple[tuple[float, float], ...]:
    size, sharpness = samples.values[:, 0], samples.values[:, 1]
    edges = _step_edges(size)
    band = np.searchsorted(edges, size, side="right") - 1
    highs = [float(np.quantile(sharpness[band == place], 1 - _OUTER)) for place in range(len(edges))]
    return tuple(zip(edges.tolist(), highs, strict=True))


def _step_edges(values: Doubles) -> Doubles:
    """Return the values at which steps of equally many samples begin; none is empty, however many values are equal."""
    return np.unique(np.quantile(values, np.arange(_STEPS) / _STEPS, method="lower"))


def require_library() -> None:
    """Refuse to go on without scikit-learn."""
    try:
        import sklearn.ensemble  # noqa: F401
    except ImportError as error:
        problem, hint = f"{error.name or 'scikit-learn'} is not installed", "pip install 'caffe-compat[trust]'"
        raise DataError(problem, code="dependency-missing", hint=hint) from None


def require_enough(recordings: int, level: float) -> None:
    """Refuse fewer recordings than a level needs."""
    least = max(_FOLDS, _least(level))
    if recordings < least:
        problem = f"there are {recordings} recordings, {level:.0%} needs at least {least}"
        raise DataError(problem, code="wrong-count", field="recordings", hint="add recordings of other people")


def _least(level: float) -> int:
    """Return with how many recordings the quantile of a level is finite."""
    return math.floor(level / (1 - level) + 1e-9) + 1


def _errors(samples: Samples, place: int, name: str, level: float, limit: float | None) -> Errors:
    wrong = np.asarray(samples.answers[:, place] - samples.truth[:, place])
    coded, unknown = (_widths(samples, wrong, level, measures) for measures in (_KNOWN, _BLIND))
    least = (samples.scale == samples.scale.min()) & (samples.qp == samples.qp.min())
    undegraded = float(np.median(coded(np.nan_to_num(samples.values[least]))))
    label = samples.truth[:, place]
    constant = _quantile(label - np.median(label), samples.recording, level)
    bound = limit if limit is not None else float(f"{_SLACK * undegraded:.2g}")
    enough = _enough(_columns(samples), coded(np.nan_to_num(samples.values)) <= bound)
    return Errors(name, bound, undegraded, constant, coded, unknown, enough)


def _columns(samples: Samples) -> dict[str, Doubles]:
    return {name: samples.values[:, MEASURES.index(name)] for name in CAUSES}


def _widths(samples: Samples, wrong: Doubles, level: float, measures: tuple[str, ...]) -> Widths:
    values = np.nan_to_num(samples.values[:, [MEASURES.index(name) for name in measures]])
    forest, expected = _cross_fitted(measures, values, np.abs(wrong), samples.recording)
    ratio = wrong / np.maximum(expected, 1e-9)
    size = samples.values[:, MEASURES.index("size")]
    edges = _band_edges(size, samples.recording, max(_BAND_RECORDINGS, _least(level)))
    bands = []
    for low, high in zip(edges, [*edges[1:], math.inf], strict=True):
        rows = (size >= low) & (size < high)
        bands.append((low, _quantile(ratio[rows], samples.recording[rows], level)))
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


def _band_edges(size: Doubles, groups: Groups, least: int) -> list[float]:
    """Return the sizes at which bands begin: as many equal parts of the samples as have enough recordings each."""
    for count in range(_BANDS, 1, -1):
        edges = [0.0, *np.quantile(size, np.arange(1, count) / count).tolist()]
        band = np.searchsorted(edges, size, side="right")
        parts = [band == part for part in range(1, count + 1)]
        if all(rows.sum() >= _BAND_SAMPLES and len(np.unique(groups[rows])) >= least for rows in parts):
            return edges
    return [0.0]


def _quantile(errors: Doubles, groups: Groups, level: float) -> float:
    """Return what the absolute error of a new recording's frame exceeds with a probability of at most 1 - level."""
    _, members, counts = np.unique(groups, return_inverse=True, return_counts=True)
    sizes, weights = np.abs(errors), 1 / ((len(counts) + 1) * counts[members])
    order = np.argsort(sizes)
    return float(sizes[order][np.searchsorted(np.cumsum(weights[order]), level - 1e-9)])


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
    columns = [MEASURES.index(name) for name in measures]
    values = np.column_stack([np.nan_to_num(samples.values[:, columns]), confidence])
    names = (*measures, CONFIDENCE)
    forest, change = _cross_fitted(names, values, 1 - stays, samples.recording)
    return Likelihood(forest, _steps(change, stays, samples.recording, level))


def _steps(change: Doubles, stays: Doubles, groups: Groups, level: float) -> tuple[tuple[float, float, float], ...]:
    """Return steps of forecasts, those joined whose agreement does not fall, with the interval of each."""
    from sklearn.isotonic import IsotonicRegression

    edges = _step_edges(change)
    part = np.searchsorted(edges, change, side="right") - 1
    faces, shares = _shares(stays, part, groups)
    people = (faces > 0).sum(axis=1)
    falling = IsotonicRegression(increasing=False)
    fitted = falling.fit_transform(np.arange(len(edges)), shares.sum(axis=1) / people, sample_weight=people)
    _, first, joined = np.unique(-fitted, return_index=True, return_inverse=True)
    ends = _proportions(*_shares(stays, joined[part], groups), level)
    ends = np.stack([falling.fit_transform(np.arange(len(ends)), end) for end in ends.T], axis=1)
    starts = [0.0, *edges[first[1:]].tolist()]
    return tuple((start, low, high) for start, (low, high) in zip(starts, ends.tolist(), strict=True))


def _shares(stays: Doubles, part: Groups, groups: Groups) -> tuple[Doubles, Doubles]:
    """Return the faces of each recording in each part, (parts, recordings), and the share of them that stay."""
    _, members = np.unique(groups, return_inverse=True)
    shape = part.max() + 1, members.max() + 1
    cells = np.ravel_multi_index((part, members), shape)
    faces, same = (np.bincount(cells, each, math.prod(shape)).reshape(shape) for each in (np.ones_like(stays), stays))
    return faces, np.divide(same, faces, out=np.zeros(shape), where=faces > 0)


def _proportions(faces: Doubles, shares: Doubles, level: float) -> Doubles:
    """Return the interval of the mean share over people in each part, (parts, 2)."""
    from scipy.stats import beta, norm, t

    there = faces > 0
    people = there.sum(axis=1)
    mean = shares.sum(axis=1) / people
    # the variance of a share of n faces is mean (1 - mean) (alike + (1 - alike) / n), with one `alike` for all parts
    one = np.divide(1, faces, out=np.zeros_like(faces), where=there).sum(axis=1) / people
    single = mean * (1 - mean) * (people - 1)
    varies, independent = float(((shares - mean[:, None])[there] ** 2).sum()), float((single * one).sum())
    span = float(single.sum()) - independent
    alike = min(max((varies - independent) / span, 0.0), 1.0) if span > 0 else 1.0
    few = (norm.ppf((1 + level) / 2) / t.ppf((1 + level) / 2, faces.shape[1] - 1)) ** 2
    trials = few * people / (alike + (1 - alike) * one)
    hits, tail = mean * trials, (1 - level) / 2
    low = np.where(hits > 0, beta.ppf(tail, hits, trials - hits + 1), 0.0)
    high = np.where(mean < 1, beta.ppf(1 - tail, hits + 1, trials - hits), 1.0)
    return np.stack([low, high], axis=1)


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
