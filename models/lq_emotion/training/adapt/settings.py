"""Settings and results of an adaptation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lq_emotion.common.records import Record
from lq_emotion.common.settings import Settings, device_option, option
from lq_emotion.datasets.clips.table import ClipSettings
from lq_emotion.metrics.regression import Score


@dataclass(frozen=True, kw_only=True)
class AdaptSettings(Settings):
    """Settings of an adaptation; the defaults of the training are ours."""

    model: str = option(
        help="name of a model (lq-emotion models list), or a caffemodel", positional=True, metavar="MODEL"
    )
    clips: Path = option(help="table of your own clips: file, person, labels (docs/your_data.md)", metavar="CSV")
    out: Path = option(help="folder for the weights and the report", metavar="FOLDER")
    reading: ClipSettings = field(default_factory=ClipSettings)
    detector: Literal["mtcnn", "haar"] = option(
        "mtcnn", "finds the faces, as in predict, so that both cut them out alike", group="faces"
    )
    fps: float = option(2.0, "frames taken from a second of video", above=0, group="faces")
    iterations: int = option(2000, "iterations, half of them for the last layer alone", least=2, group="training")
    batch: int = option(32, "faces of an iteration", least=1, group="training")
    base_lr: float = option(
        0.001, "rate of the last layer, by Adam; a tenth of it for all layers", above=0, group="training"
    )
    seed: int = option(0, "seed of the new head and of the order of the faces", least=0, group="training")
    device: str = device_option("training")
    fresh: bool = option(False, "discard earlier results instead of continuing", group="training")


@dataclass(frozen=True)
class FacesFound(Record):
    """The faces of a partition: frames looked at, those without a face, clips without any face, and the files."""

    frames: int
    without: int
    clips_without: tuple[str, ...]
    files: tuple[str, ...]

    @property
    def faces(self) -> int:
        """Number of faces."""
        return self.frames - self.without


@dataclass(frozen=True)
class AnswerScores(Record):
    """Scores of a net on the faces of a partition: of classes, or of dimensions, by name."""

    classes: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    """``count``, ``recall``, ``precision`` and ``f1`` of each class; None where undefined."""
    dimensions: Mapping[str, Score] = field(default_factory=dict)
    accuracy: float | None = None
    mean_recall: float | None = None
    confusion: tuple[tuple[int, ...], ...] = ()
    """Counts, a row for each true class, a column for each answer; empty for dimensions."""


@dataclass(frozen=True)
class StageResults(Record):
    """A stage of the training: its iterations, the one that was kept, and the losses on held-out persons."""

    iterations: int
    kept: int
    losses: Mapping[int, float]
    rate_divided_at: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class AdaptationResults(Record):
    """adapt.json."""

    model: str
    weights: str
    """The new weights."""
    head_is_new: bool
    """Whether the last layer was replaced."""
    names: tuple[str, ...]
    """Of the classes or dimensions, in the order of the outputs."""
    persons: Mapping[str, tuple[str, ...]]
    """By partition, as `faces`."""
    split: ClipSettings | None
    """Settings that split the persons; None if the table has partitions."""
    faces: Mapping[str, FacesFound]
    stages: Mapping[str, StageResults]
    """``frozen`` and ``unfrozen``."""
    scores: Mapping[str, Mapping[str, AnswerScores]]
    """``dev`` and ``test`` -> ``constant`` (the commonest class or the mean of train), ``before`` (the model as it was,
    where its head is kept), ``frozen`` and ``adapted``."""
