"""Accuracy, recall, precision and F1 of classes, and the table of confusions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError
from lq_emotion.metrics.uncertainty import Interval, wilson

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ClassScores:
    """Agreement of predicted classes with the true ones."""

    confusion: Counts
    """(k, k) counts: a row for each true class, a column for each predicted one."""

    @property
    def count(self) -> int:
        """Number of samples."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """Part of the samples that is right."""
        return float(np.trace(self.confusion) / self.count)

    @property
    def interval(self) -> Interval:
        """95 % interval of the accuracy (Wilson 1927), as if samples were independent of each other."""
        return wilson(int(np.trace(self.confusion)), self.count)

    @property
    def recall(self) -> npt.NDArray[np.float64]:
        """(k,) part of each true class that is right; NaN for a class without samples."""
        return _ratio(np.diag(self.confusion), self.confusion.sum(axis=1))

    @property
    def precision(self) -> npt.NDArray[np.float64]:
        """(k,) part of each predicted class that is right; NaN for a class that is never predicted."""
        return _ratio(np.diag(self.confusion), self.confusion.sum(axis=0))

    @property
    def f1(self) -> npt.NDArray[np.float64]:
        """(k,) harmonic mean of precision and recall; NaN for a class that neither occurs nor is predicted."""
        return _ratio(2 * np.diag(self.confusion), self.confusion.sum(axis=0) + self.confusion.sum(axis=1))

    @property
    def mean_recall(self) -> float:
        """Mean recall of the classes that occur (unweighted average recall): 1 / k for a constant answer."""
        return float(np.nanmean(self.recall))


def class_scores(predicted: npt.ArrayLike, true: npt.ArrayLike, classes: int) -> ClassScores:
    """Count the confusions of (N,) predicted and true numbers of classes, from 0."""
    a, b = np.asarray(predicted).ravel(), np.asarray(true).ravel()
    if a.shape != b.shape or not a.size:
        raise DataError(f"{a.size} predictions for {b.size} labels", code="wrong-count", field="predicted")
    for field, values in (("predicted", a), ("true", b)):
        wrong = values[~((values >= 0) & (values < classes))]
        if wrong.size:
            problem = f"expected numbers of {classes} classes"
            raise DataError(problem, code="out-of-range", field=field, value=wrong[0].item())
    counts = np.bincount(b.astype(np.int64) * classes + a.astype(np.int64), minlength=classes * classes)
    return ClassScores(counts.reshape(classes, classes).astype(np.int64))


def _ratio(part: Counts, whole: Counts) -> npt.NDArray[np.float64]:
    out = np.full(len(part), np.nan)
    np.divide(part, whole, out=out, where=whole > 0)
    return out
