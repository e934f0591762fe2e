"""What 8 bits cost a net: its outputs beside those in float32."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_UNIT = 1e-3  # how far the probabilities of the classes may be from 1 in sum


@dataclass(frozen=True)
class OutputLoss:
    """How an output of an int8 model differs from float32's.

    Attributes
    ----------
    blob : the output.
    ccc : the concordance correlation coefficient of its values with float32's; None where sizes differ, as those of
        lists of detections do.
    same_class : the part of images whose top class is float32's; None if the output is not one of classes.
    truth : the accuracy, or for values their CCC with the true ones: int8's and float32's; None if it is not known.
    """

    blob: str
    ccc: float | None
    same_class: float | None = None
    truth: tuple[float, ...] | None = None

    def __str__(self) -> str:
        if self.ccc is None:
            return f"{self.blob}: not compared, its size depends on its values"
        parts = [f"CCC with float32 {self.ccc:.4f}"]
        if self.same_class is not None:
            parts.insert(0, f"float32's top class in {self.same_class:.1%}")
        if self.truth is not None and self.same_class is not None:
            parts.append("accuracy {:.1%} (float32 {:.1%})".format(*self.truth))
        elif self.truth is not None:
            parts.append("CCC with the labels {:.4f} (float32 {:.4f})".format(*self.truth))
        return f"{self.blob}: {', '.join(parts)}"


@dataclass
class Comparison:
    """An output in 8 bits and in float32, gathered sample by sample.

    Attributes
    ----------
    blob : the output.
    labels : how many names its classes have; 0 where they have none.
    truth : the class or the value of each sample, where it is known.
    """

    blob: str
    labels: int = 0
    truth: Array | None = None
    _sums: Array = field(default_factory=lambda: np.zeros(6))
    _rows: list[tuple[Array, Array]] = field(default_factory=list)
    _same_sizes: bool = True
    _is_map: bool = False

    def add(self, small: Array, whole: Array) -> None:
        """Add a sample's output in 8 bits and in float32."""
        self._same_sizes &= small.shape == whole.shape
        if not self._same_sizes:
            return
        self._sums += _sums(small, whole)
        self._is_map |= whole.size != (*whole.shape[1:2], 1)[0]
        if not self._is_map:
            self._rows.append((small.ravel(), whole.ravel()))

    def loss(self) -> OutputLoss:
        """Return what 8 bits cost."""
        if not self._same_sizes:
            return OutputLoss(self.blob, None)
        ccc = _ccc(self._sums)
        if self._is_map:
            return OutputLoss(self.blob, ccc)
        both = [np.array(side, np.float64) for side in zip(*self._rows, strict=True)]
        channels, truth = both[1].shape[1], self.truth
        if channels == 1:
            scores = None if truth is None else tuple(_ccc(_sums(side, truth)) for side in both)
            return OutputLoss(self.blob, ccc, truth=scores)
        if channels != self.labels and (both[1].min() < 0 or np.abs(both[1].sum(1) - 1).max() > _UNIT):
            return OutputLoss(self.blob, ccc)
        top, expected = (side.argmax(1) for side in both)
        accuracies = None if truth is None else tuple(float(np.mean(side == truth)) for side in (top, expected))
        return OutputLoss(self.blob, ccc, float(np.mean(top == expected)), accuracies)


def _sums(a: Array, b: Array) -> Array:
    """Return the count of two arrays' values and the sums of a, b, a², b² and ab."""
    a, b = np.asarray(a, np.float64).ravel(), np.asarray(b, np.float64).ravel()
    return np.array([a.size, a.sum(), b.sum(), a @ a, b @ b, a @ b])


def _ccc(sums: Array) -> float:
    """Return Lin's concordance correlation coefficient; 1 for equal constants."""
    a, b, aa, bb, ab = sums[1:] / sums[0]
    spread = aa - a * a + bb - b * b + (a - b) ** 2
    return float(2 * (ab - a * b) / spread) if spread > 0 else 1.0
