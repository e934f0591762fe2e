"""Confidence intervals for a study's scores, and tests of Joint-OA against the other methods.

The paper concludes from the differences of single numbers. Here each difference has its interval over recordings and
its p, adjusted by Holm's method for all tests of the study; the published difference is set against that interval.
`metrics.uncertainty` explains the intervals and tests.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from caffe_compat.errors import DataError
from lq_emotion.common.document import counted
from lq_emotion.common.records import Record
from lq_emotion.metrics.regression import MEASURES, Convention, defined
from lq_emotion.metrics.uncertainty import (
    LEVEL,
    RESAMPLES,
    Moments,
    holm,
    joined_score,
    paired_test,
    score_intervals,
    spread,
)
from lq_emotion.nets.names import Method
from lq_emotion.studies.robust_lq.published import published
from lq_emotion.studies.robust_lq.recipes import Variant

Cell = tuple[str, int]
"""A `Method` or a `Variant`, and the factor of the crops it was scored on; 1 for HR on HR."""
Trainings = Mapping[int, Mapping[str, Moments]]
"""The moments of a cell by seed and recording."""
OTHERS = (Method.LR, Method.NON_JOINT, Method.JOINT, Variant.HR_ON_LR)
"""The methods that Joint-OA is compared with, each at every factor."""
_HELD = (
    "Of such intervals over nine recordings, 93 of 100 hold the score of unlimited recordings, of RMSE only 87 where "
    "errors differ widely between recordings."
)


@dataclass(frozen=True)
class Estimate(Record):
    """A score: mean and standard deviation over seeds, and the interval of the mean over recordings.

    None where a number is undefined: a deviation of one seed, an interval of one recording, CC of constant predictions.
    """

    mean: float | None
    deviation: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class CellEstimates(Record):
    """The scores of a `Method` or a `Variant` on crops of a factor."""

    method: str
    factor: int
    seeds: tuple[int, ...]
    recordings: int
    scores: Mapping[str, Estimate]
    """``rmse``, ``cc`` and ``ccc`` of all recordings as one sequence."""


@dataclass(frozen=True, kw_only=True)
class Difference(Record):
    """CCC of Joint-OA less that of another method, on the same crops."""

    other: str
    factor: int
    seeds: tuple[int, ...]
    """Those that both methods have."""
    recordings: int
    difference: float | None
    """Of the means over seeds."""
    low: float | None
    high: float | None
    p: float | None
    """Two-sided, of the permutation test."""
    holm: float | None = None
    """p adjusted for all tests of the study."""
    arrangements: int
    """Exchanges that were computed."""
    exact: bool
    """Whether those are all."""
    published: float | None
    exceeds: bool | None
    """Whether the published difference is, without its sign, larger than half the width of the interval."""


@dataclass(frozen=True, kw_only=True)
class Comparisons(Record):
    """All estimates and differences of a study."""

    convention: str
    level: float
    """Of the intervals."""
    resamples: int
    """The most exchanges of a test."""
    random_seed: int
    """Of the exchanges, where they are drawn."""
    cells: tuple[CellEstimates, ...]
    differences: tuple[Difference, ...]


def compare_methods(
    moments: Mapping[Cell, Trainings],
    *,
    random_seed: int = 0,
    resamples: int = RESAMPLES,
    convention: Convention = "avec",
    dimension: str = "valence",
) -> Comparisons:
    """Return the estimates of all cells, and the differences of those that can be compared.

    Each test draws its exchanges with the random seed, so that none depends on another. The paper has valence alone.
    """
    cells = tuple(_estimates(cell, moments[cell], convention) for cell in moments)
    differences: list[Difference] = []
    for other in OTHERS:
        factors = [s for method, s in moments if method == Method.JOINT_OA and (other, s) in moments]
        differences += [_difference(moments, other, s, random_seed, resamples, convention) for s in factors]
    differences = list(_adjusted(differences))
    if dimension != "valence":
        differences = [replace(difference, published=None, exceeds=None) for difference in differences]
    return Comparisons(
        convention=convention, level=LEVEL, resamples=resamples, random_seed=random_seed, cells=cells,
        differences=tuple(differences),
    )  # fmt: skip


def _estimates(cell: Cell, trainings: Trainings, convention: Convention) -> CellEstimates:
    seeds = sorted(trainings)
    recordings = _recordings({cell: trainings}, seeds)
    tables = [[trainings[seed][name] for name in recordings] for seed in seeds]
    scores = [joined_score(table, convention) for table in tables]
    intervals = score_intervals(tables, convention=convention)
    estimates = {
        name: Estimate(*map(defined, (*spread([getattr(score, name) for score in scores]), *intervals[name])))
        for name in MEASURES
    }
    method, factor = cell
    return CellEstimates(
        method=str(method), factor=factor, seeds=tuple(seeds), recordings=len(recordings), scores=estimates
    )


def _difference(
    moments: Mapping[Cell, Trainings], other: str, s: int, random_seed: int, resamples: int, convention: Convention
) -> Difference:
    cells = (Method.JOINT_OA, s), (other, s)
    seeds = sorted(moments[cells[0]].keys() & moments[cells[1]].keys())
    recordings = _recordings({cell: moments[cell] for cell in cells}, seeds)
    first, second = ([[moments[cell][seed][name] for name in recordings] for seed in seeds] for cell in cells)
    rng = np.random.default_rng(random_seed)
    test = paired_test(first, second, rng=rng, convention=convention, n_resamples=resamples)
    paper = _published_difference(other, s)
    width = test.interval.high - test.interval.low
    return Difference(
        other=str(other),
        factor=s,
        seeds=tuple(seeds),
        recordings=len(recordings),
        difference=defined(test.difference),
        low=defined(test.interval.low),
        high=defined(test.interval.high),
        p=defined(test.p),
        arrangements=test.arrangements,
        exact=test.exact,
        published=paper,
        exceeds=None if paper is None or math.isnan(width) else abs(paper) > width / 2,
    )


def _recordings(cells: Mapping[Cell, Trainings], seeds: Sequence[int]) -> list[str]:
    """Return the names of the recordings that all seeds of all cells were scored on."""
    if not seeds:
        names = " and ".join(_label(cell) for cell in cells)
        raise DataError(f"{names} have no seed in common", code="mismatch", field="seeds")
    scored = {(cell, seed): set(trainings[seed]) for cell, trainings in cells.items() for seed in seeds}
    (first, expected), *others = scored.items()
    for (cell, seed), actual in others:
        if actual != expected:
            name = min(actual ^ expected)
            where = [f"{_label(c)}, seed {number}" for c, number in (first, (cell, seed))]
            where = where if name in expected else where[::-1]
            raise DataError(
                f"{name} was scored by {where[0]}, not by {where[1]}", code="mismatch", field="recordings", value=name
            )
    return list(cells[first[0]][first[1]])


def _label(cell: Cell) -> str:
    return f"{cell[0]} at {cell[1]}"


def _published_difference(other: str, s: int) -> float | None:
    if other not in list(Method):
        return None
    ours, theirs = published(Method.JOINT_OA, s), published(Method(other), s)
    difference = None if ours is None or theirs is None else (ours - theirs).ccc
    return None if difference is None else round(difference, 3)  # as both are published


def _adjusted(differences: Sequence[Difference]) -> Iterator[Difference]:
    p = holm([math.nan if difference.p is None else difference.p for difference in differences])
    for difference, value in zip(differences, p, strict=True):
        yield replace(difference, holm=defined(value))


def explain_estimates(comparisons: Comparisons) -> str:
    """Return what the numbers of the cells mean."""
    seeds, recordings = _counts(comparisons.cells)
    return (
        f"All development recordings ({recordings}) scored as one sequence: mean over seeds ({seeds}) ± standard "
        f"deviation over seeds, and in brackets the {comparisons.level:.0%} jackknife interval of the mean over "
        f"recordings. {_HELD} A dash stands for what is undefined: the deviation of one seed, the interval of one "
        "recording, CC where a net's predictions are constant."
    )


def explain_differences(comparisons: Comparisons) -> str:
    """Return what the numbers of the differences mean."""
    seeds, recordings = _counts(comparisons.differences)
    fewest = min(row.recordings for row in comparisons.differences)
    smallest = max(2 / 2**fewest, 2 / (comparisons.resamples + 1))
    exchanges = "all" if all(row.exact for row in comparisons.differences) else "random"
    return (
        f"CCC of Joint-OA less that of another method on the same crops of the same recordings ({recordings}), means "
        f"over seeds ({seeds}), with the {comparisons.level:.0%} jackknife interval over recordings. p is two-sided, "
        f"of the permutation test that exchanges the two methods' predictions of a recording ({exchanges} exchanges); "
        f"with {counted(fewest, 'recording')} it cannot be below {smallest:.2g}. Holm's p is adjusted for all "
        f"{len(comparisons.differences)} tests of the table. The last column shows whether the paper's difference, "
        "without its sign, exceeds half the width of this interval: whether it is larger than what other recordings "
        "alone would change."
    )


def _counts(rows: Sequence[CellEstimates] | Sequence[Difference]) -> tuple[str, str]:
    """Return the numbers of seeds and of recordings: ``3``, ``2 to 3``."""
    numbers = [sorted({len(row.seeds) for row in rows}), sorted({row.recordings for row in rows})]
    seeds, recordings = (" to ".join(map(str, dict.fromkeys((n[0], n[-1])))) if n else "none" for n in numbers)
    return seeds, recordings
