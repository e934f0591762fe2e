"""Training targets of a head, from the labels of clips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError
from lq_emotion.datasets.clips.table import ClipTable
from lq_emotion.nets.known.outputs import Dimensions, Labels, Outputs

Singles = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Target:
    """From the labels of a table to the numbers that a head learns, and back.

    Attributes
    ----------
    names : names of the classes or dimensions, in the order of the head's outputs.
    order : of classes, the head's output for each class of the table; of dimensions, the table's column for each
        output.
    classes : whether they are classes.
    own : the labels are the model's own: it keeps its head.
    shift, scale : numbers by dimension, whose value is ``shift + scale * output``.
    """

    names: tuple[str, ...]
    order: tuple[int, ...]
    classes: bool
    own: bool
    shift: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    def values(self, labels: Doubles) -> Doubles:
        """Return labels (T, 1 or k) of the table in the order of the head: numbers of classes, or values."""
        if self.classes:
            return np.asarray(self.order, np.float64)[labels.astype(np.int64)]
        return labels[:, list(self.order)]

    def learned(self, values: Doubles) -> Singles:
        """Return what the head learns for values (T, k)."""
        return (values if self.classes else (values - self.shift) / self.scale).astype(np.float32)


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
