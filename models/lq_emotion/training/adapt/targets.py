"""Training targets of a head, from the labels of clips, and scores of its answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError
from lq_emotion.datasets.clips.table import ClipTable
from lq_emotion.metrics.classification import class_scores
from lq_emotion.metrics.regression import defined, score
from lq_emotion.nets.known.outputs import Dimensions, Labels, Outputs
from lq_emotion.training.adapt.settings import AnswerScores

Singles = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Target:
    """The labels of a table as the numbers that a head learns, and back."""

    names: tuple[str, ...]
    """Of the classes or dimensions, in the order of the head's outputs."""
    order: tuple[int, ...]
    """Of classes, the head's output for each class of the table; of dimensions, the table's column for each output."""
    classes: bool
    own: bool
    """The labels are the model's own: it keeps its head."""
    shift: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    """By dimension, whose value is ``shift + scale * output``."""

    def values(self, labels: Doubles) -> Doubles:
        """Return labels (T, 1 or k) of the table in the order of the head: numbers of classes, or values."""
        if self.classes:
            return np.asarray(self.order, np.float64)[labels.astype(np.int64)]
        return labels[:, list(self.order)]

    def learned(self, values: Doubles) -> Singles:
        """Return what the head learns for values (T, k)."""
        return (values if self.classes else (values - self.shift) / self.scale).astype(np.float32)

    def constant(self, values: Doubles) -> Doubles:
        """Return the best constant answer, (1, k): the commonest class as probabilities, or the means."""
        if not self.classes:
            return np.asarray(values.mean(axis=0, keepdims=True), np.float64)
        counts = np.bincount(values[:, 0].astype(np.int64), minlength=len(self.names))
        return np.eye(len(self.names))[[int(counts.argmax())]]

    def score(self, outputs: Doubles, values: Doubles) -> AnswerScores:
        """Score answers (N, k), probabilities or values, by the true values (N, 1 or k)."""
        if not self.classes:
            by_name = {name: score(outputs[:, i], values[:, i]) for i, name in enumerate(self.names)}
            return AnswerScores(dimensions=by_name)
        scores = class_scores(outputs.argmax(axis=1), values[:, 0].astype(np.int64), len(self.names))
        columns = zip(scores.confusion.sum(axis=1), scores.recall, scores.precision, scores.f1, strict=True)
        classes = {
            name: {"count": int(count), "recall": defined(recall), "precision": defined(precision), "f1": defined(f1)}
            for name, (count, recall, precision, f1) in zip(self.names, columns, strict=True)
        }
        confusion = tuple(map(tuple, scores.confusion.tolist()))
        return AnswerScores(classes, accuracy=scores.accuracy, mean_recall=scores.mean_recall, confusion=confusion)


def target_of(table: ClipTable, outputs: Outputs | None) -> Target:
    """Return what a head learns from a table: the model's own outputs where they cover the labels.

    A new head learns dimensions with mean 0 and deviation 1 in train, so that the rate need not know their scale. Only
    one class, or a dimension of one value in all clips of train, is refused.
    """
    if table.classes:
        own = isinstance(outputs, Labels) and set(table.classes) <= set(outputs.names)
        names = outputs.names if own and outputs is not None else table.classes
        if len(names) < 2:
            hint = "a net needs two classes or more to tell apart"
            problem = "is the only class"
            raise DataError(problem, code="wrong-count", file=table.path, field="label", value=names[0], hint=hint)
        return Target(names, tuple(names.index(name) for name in table.classes), classes=True, own=own)
    if isinstance(outputs, Dimensions) and set(table.dimensions) == set(outputs.names):
        count = len(outputs.names)
        order = tuple(table.dimensions.index(name) for name in outputs.names)
        return Target(outputs.names, order, classes=False, own=True, shift=(0.0,) * count, scale=(1.0,) * count)
    values = _values_in_train(table)
    mean, deviation = values.mean(axis=0).tolist(), values.std(axis=0).tolist()
    for name, spread in zip(table.dimensions, deviation, strict=True):
        if not spread:
            hint = "there is nothing to learn; remove the column"
            raise DataError("is the same in all clips of train", code="invalid", file=table.path, field=name, hint=hint)
    order = tuple(range(len(table.dimensions)))
    return Target(table.dimensions, order, classes=False, own=False, shift=tuple(mean), scale=tuple(deviation))


def _values_in_train(table: ClipTable) -> Doubles:
    train = table.part("train")
    if table.traces:
        return np.concatenate([table.traces[file].values for file in dict.fromkeys(clip.file for clip in train)])
    return np.array([[clip.values[name] for name in table.dimensions] for clip in train])
