"""Results of an adaptation: adapt.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from lq_emotion.common.records import Record
from lq_emotion.datasets.clips.table import ClipSettings
from lq_emotion.metrics.classification import class_scores
from lq_emotion.metrics.regression import Score, defined, score
from lq_emotion.training.adapt.faces import FacesFound
from lq_emotion.training.adapt.targets import Doubles


@dataclass(frozen=True)
class ClassScore(Record):
    """Scores of a class; None where undefined."""

    count: int
    recall: float | None
    precision: float | None
    f1: float | None


@dataclass(frozen=True)
class AnswerScores(Record):
    """How good the answers of a net are on the faces of a partition.

    Attributes
    ----------
    classes, dimensions : scores by name; one of the two is empty.
    accuracy, mean_recall : scores over all classes; None for dimensions.
    confusion : counts, a row for each true class, a column for each answer; empty for dimensions.
    """

    classes: Mapping[str, ClassScore] = field(default_factory=dict)
    dimensions: Mapping[str, Score] = field(default_factory=dict)
    accuracy: float | None = None
    mean_recall: float | None = None
    confusion: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class StageResults(Record):
    """A stage of the training: its iterations, the one that was kept, and the losses on held-out persons."""

    iterations: int
    kept: int
    losses: Mapping[int, float]
    rate_divided_at: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class AdaptationResults(Record):
    """adapt.json.

    Attributes
    ----------
    model, weights : adapted model, and the new weights.
    head_is_new : whether the last layer was replaced.
    names : names of the classes or dimensions, in the order of the outputs.
    persons : partition -> persons.
    split : settings that split the persons; None if the table has partitions.
    faces : partition -> faces found.
    stages : ``frozen`` and ``unfrozen``.
    scores : ``dev`` and ``test`` -> ``constant`` (the commonest class or the mean of train), ``before`` (the model
        as it was, where its head is kept), ``frozen`` and ``adapted``.
    """

    model: str
    weights: str
    head_is_new: bool
    names: tuple[str, ...]
    persons: Mapping[str, tuple[str, ...]]
    split: ClipSettings | None
    faces: Mapping[str, FacesFound]
    stages: Mapping[str, StageResults]
    scores: Mapping[str, Mapping[str, AnswerScores]]


def scores_of_classes(outputs: Doubles, values: Doubles, names: tuple[str, ...]) -> AnswerScores:
    """Score probabilities (N, k) by the numbers of the true classes (N, 1)."""
    scores = class_scores(outputs.argmax(axis=1), values[:, 0].astype(np.int64), len(names))
    columns = zip(scores.confusion.sum(axis=1), scores.recall, scores.precision, scores.f1, strict=True)
    by_name = {
        name: ClassScore(int(count), *(defined(value) for value in rest))
        for name, (count, *rest) in zip(names, columns, strict=True)
    }
    confusion = tuple(tuple(int(count) for count in row) for row in scores.confusion)
    return AnswerScores(by_name, accuracy=scores.accuracy, mean_recall=scores.mean_recall, confusion=confusion)


def scores_of_dimensions(outputs: Doubles, values: Doubles, names: tuple[str, ...]) -> AnswerScores:
    """Score values (N, k) of dimensions by the labels (N, k)."""
    return AnswerScores(dimensions={name: score(outputs[:, i], values[:, i]) for i, name in enumerate(names)})
