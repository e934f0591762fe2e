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


@dataclass(frozen=True, kw_only=True)
class CellResult(Record):
    """A cell of Table 1 with its scores; names and files of several seeds are those of the first."""

    method: Method
    factor: int
    """The column; 1 for HR, which is in every column."""
    run: str
    test: str
    """Name of the crops."""
    scores: str
    """scores.json of the evaluation, below ROOT."""
    weights: str = ""
    """What was scored; relative to ROOT if it is there."""
    weights_sha256: str = ""
    measured: Score
    """Of all development recordings as one sequence, in AVEC's convention; the mean of several seeds."""
    published: Score | None
    difference: Score | None
    """Here minus paper."""
    seeds: tuple[Score, ...] = ()

    @property
    def label(self) -> str:
        """Return the method at its factor: ``LR-3``."""
        return self.method.at(self.factor)


@dataclass(frozen=True, kw_only=True)
class StudyResults(Record):
    """ROOT/table/table.json, from which all forms of the table are made."""

    synthetic: bool
    """No person was filmed."""
    settings: StudyPlan
    dimension: str = "valence"
    """One of two, if the nets learn both."""
    versions: Mapping[str, str | None]
    seconds: Mapping[str, float | None]
    """Of each stage; None for one that was not timed."""
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
class VariantResult(Record):
    """A variant's scores on one kind of crops, see `CellResult`."""

    variant: Variant
    factor: int
    """Of the training; it is in its name: Max-3."""
    tested: int
    """Of the crops."""
    run: str
    measured: Score
    seeds: tuple[Score, ...]


@dataclass(frozen=True)
class VariantResults(Record):
    """ROOT/study/variants.json: what the paper says of nets that are not in its table, measured."""

    cells: tuple[VariantResult, ...]
