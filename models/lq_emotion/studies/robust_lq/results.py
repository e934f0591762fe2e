"""Results of the study: table.json and variants.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lq_emotion.common.records import Record
from lq_emotion.metrics.regression import Score
from lq_emotion.nets.names import Method
from lq_emotion.nets.switches import changed_settings
from lq_emotion.studies.robust_lq.plan import StudyPlan
from lq_emotion.studies.robust_lq.recipes import Variant


@dataclass(frozen=True)
class WeightsFile(Record):
    """A file of weights: its path, relative to ROOT where it is there, and its SHA-256."""

    file: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class CellResult(Record):
    """A cell of Table 1 with its scores.

    Attributes
    ----------
    method, factor : row and column of the table; the factor of HR, which is in every column, is 1.
    run, test : names of the training and of the crops; of several seeds', the first.
    scores : scores.json of the evaluation, below ROOT; of several seeds', the first.
    weights : what was scored; of several seeds', the first.
    measured : the score of all development recordings as one sequence, in AVEC's convention; the mean of several seeds.
    published, difference : the paper's score, and here minus paper; None where the paper has none.
    seeds : the scores of each seed.
    """

    method: Method
    factor: int
    run: str
    test: str
    scores: str
    weights: WeightsFile | None = None
    measured: Score
    published: Score | None
    difference: Score | None
    seeds: tuple[Score, ...] = ()

    @property
    def label(self) -> str:
        """Return the method at its factor: ``LR-3``."""
        return self.method.at(self.factor)


@dataclass(frozen=True, kw_only=True)
class StudyResults(Record):
    """ROOT/table/table.json, from which all forms of the table are made.

    Attributes
    ----------
    synthetic : the recordings are drawn, no person was filmed.
    settings : settings of the study.
    dimension : dimension of the labels; one of two, if the nets learn both.
    versions : versions of the packages that computed it; None for one without a version.
    seconds : time of each stage; None for one that was not timed.
    cells : the numbers.
    """

    synthetic: bool
    settings: StudyPlan
    dimension: str = "valence"
    versions: Mapping[str, str | None]
    seconds: Mapping[str, float | None]
    cells: tuple[CellResult, ...]

    @property
    def scales(self) -> tuple[int, ...]:
        """The factors."""
        return self.settings.scales

    @property
    def switches(self) -> dict[str, Any]:
        """The switches that are not the authors' code's."""
        return changed_settings(self.settings.switches)

    @property
    def sr_images(self) -> str:
        """What super-resolution learnt from: "faces", or the folder of images."""
        return "faces" if self.settings.natural is None else str(self.settings.natural)


@dataclass(frozen=True)
class Tables(Record):
    """Table 1 of each dimension."""

    tables: tuple[StudyResults, ...]


@dataclass(frozen=True)
class VariantResult(Record):
    """A variant's scores on one kind of crops.

    Attributes
    ----------
    variant, factor : what was trained; the factor is in its name: Max-3.
    tested : the factor of the crops.
    run : the training's name; of several seeds', the first.
    measured : the scores; of several seeds', the mean.
    seeds : the scores of each seed.
    """

    variant: Variant
    factor: int
    tested: int
    run: str
    measured: Score
    seeds: tuple[Score, ...]


@dataclass(frozen=True)
class VariantResults(Record):
    """ROOT/study/variants.json: what the paper says of nets that are not in its table, measured."""

    cells: tuple[VariantResult, ...]
