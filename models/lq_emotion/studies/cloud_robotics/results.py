"""Results of the study, ROOT/study.json, from which tables, figures and the report are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lq_emotion.common.json_files import find_record
from lq_emotion.common.records import Record
from lq_emotion.crops.versions import Version
from lq_emotion.datasets.ravdess import EMOTIONS, ActorSplit
from lq_emotion.metrics.classification import ClassScores
from lq_emotion.studies.cloud_robotics.paper import Aggregation
from lq_emotion.studies.cloud_robotics.plan import CloudPlan
from lq_emotion.workflow.search import Parameter, Trial

FILE = "study.json"


@dataclass(frozen=True, kw_only=True)
class ImageResult(Record):
    """A net of images: where it comes from, and its confusions on the test images."""

    base: str
    """What its base had learnt before: vggface2 or imagenet."""
    weights: str
    """File of the trained net, below ROOT."""
    sha256: str
    classes: tuple[str, ...]
    """Names, in the order of FER+."""
    confusion: tuple[tuple[int, ...], ...]
    """Counts: a row for each true class, a column for each predicted one."""
    trial: int | None
    """Number of the search's best trial, from 0; None where nothing was searched."""
    parameters: Mapping[str, float]
    """Of the training, those that were searched or given."""
    dev_accuracy: float | None
    """Of the images that chose among trials; None without any."""
    space: tuple[Parameter, ...] = ()
    """What was searched."""
    course: tuple[Trial, ...] = ()
    """Its trials in order; their objective is the error rate."""

    def __post_init__(self) -> None:
        _require_square(self.confusion, len(self.classes))

    @property
    def scores(self) -> ClassScores:
        """Return accuracy, recall and F1."""
        return _scores(self.confusion)


@dataclass(frozen=True, kw_only=True)
class ClipResult(Record):
    """The confusions of one way to classify clips on the test clips of one version."""

    method: Aggregation
    trained: str | None
    """The version that the LSTM was trained on, or `ALL`; None for mean and mode, which are not trained."""
    version: str
    """The version that was tested."""
    confusion: tuple[tuple[int, ...], ...]
    """(8, 8) counts in the order of RAVDESS, a row for each true class."""

    def __post_init__(self) -> None:
        _require_square(self.confusion, len(EMOTIONS))

    @property
    def scores(self) -> ClassScores:
        """Return accuracy, recall and F1."""
        return _scores(self.confusion)

    @property
    def accuracy(self) -> float:
        """Return the part of the clips that is right."""
        return self.scores.accuracy


@dataclass(frozen=True, kw_only=True)
class CloudResults(Record):
    """All that the study measured."""

    synthetic: bool
    """The faces are drawn."""
    settings: CloudPlan
    actors: ActorSplit | None
    """Of the clips, on each side of the split; None without clips."""
    versions: tuple[Version, ...]
    """Of the clips; their names are the cells of the tables."""
    images: tuple[ImageResult, ...]
    clips: tuple[ClipResult, ...]
    seconds: Mapping[str, float | None] = field(default_factory=dict)
    """Of each stage; None for one that was not timed."""
    software: Mapping[str, str | None] = field(default_factory=dict)
    """Versions of Python and of packages."""

    @property
    def hr(self) -> str:
        """Return the name of the version with the largest frames and, among those, the most per second."""
        return max(self.versions, key=lambda version: (version.height, version.fps)).name

    @property
    def best_images(self) -> ImageResult | None:
        """Return the result of the base that is best on dev; None without any."""
        return best_on_dev(self.images) if self.images else None

    def best_clips(self, method: Aggregation) -> ClipResult | None:
        """Return a method's result on the version with the highest accuracy, the LSTM trained on it; None without."""
        cells = (self.each(method, version.name) for version in self.versions)
        return max(filter(None, cells), key=lambda result: result.accuracy, default=None)

    def each(self, method: Aggregation, version: str) -> ClipResult | None:
        """Return the result of a method on a version, the LSTM trained on that version; None where it is missing."""
        return self.cell(method, version, version if method is Aggregation.LSTM else None)

    def cell(self, method: Aggregation, version: str, trained: str | None = None) -> ClipResult | None:
        """Return the result on a version; None where it is missing."""
        cell = (method, version, trained)
        return next((clip for clip in self.clips if (clip.method, clip.version, clip.trained) == cell), None)


def best_on_dev(results: Sequence[ImageResult]) -> ImageResult:
    """Return the result with the highest accuracy on dev, the first of several; test chooses nothing."""
    return max(results, key=lambda result: -1.0 if result.dev_accuracy is None else result.dev_accuracy)


def read_results(root: Path) -> CloudResults | None:
    """Return the results below ROOT; None if the study has not finished."""
    return find_record(root / FILE, CloudResults)


def _scores(confusion: tuple[tuple[int, ...], ...]) -> ClassScores:
    return ClassScores(np.array(confusion, np.int64))


def _require_square(confusion: tuple[tuple[int, ...], ...], classes: int) -> None:
    if len(confusion) != classes or any(len(row) != classes for row in confusion):
        raise ValueError(f"confusion is not {classes} x {classes}")
    if min(map(min, confusion)) < 0 or not any(map(any, confusion)):
        raise ValueError("confusion has no counts")
