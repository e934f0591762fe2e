"""Prediction intervals from measured conditions: the parts of a calibration that compute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lq_emotion.common.records import Record
from lq_emotion.quality.forest import Forest
from lq_emotion.quality.measures import MEASURES

Doubles = npt.NDArray[np.float64]
CONFIDENCE = "confidence"  # the largest probability of a classifier
CAUSES = ("size", "sharpness", "bits")  # what degradation changes, and a reason may name
FALLING = ("size", "bits", CONFIDENCE)  # of these, more is never expected to be worse; blocks of a coder look sharp
_BITS = MEASURES.index("bits")


@dataclass(frozen=True)
class Widths(Record):
    """Half the width of an interval: the error to be expected, times a factor."""

    difficulty: Forest
    """The mean absolute error to be expected."""
    bands: tuple[tuple[float, float], ...]
    """Pairs of a size in pixels and the factor for faces from there up to the next size; the first size is 0."""

    def __call__(self, values: Doubles) -> Doubles:
        """Return half the width, (n,), for a table of conditions, (n, 5)."""
        columns = [MEASURES.index(name) for name in self.difficulty.measures]
        edges, factors = np.array(self.bands).T
        band = np.searchsorted(edges, values[:, MEASURES.index("size")], side="right") - 1
        return np.asarray(factors[np.maximum(band, 0)] * self.difficulty(values[:, columns]), np.float64)


@dataclass(frozen=True)
class Errors(Record):
    """The errors of a net in one dimension."""

    name: str
    limit: float
    """Half the width up to which an interval is narrow enough, in the dimension's unit."""
    undegraded: float
    """Half the width on faces as the recordings have them."""
    constant: float
    """Half the width of an answer that is always the same; a net that does not stay well below is of no use."""
    coded: Widths
    unknown: Widths
    """`coded` applies where the bits of frames are known, `unknown` where they are not."""
    enough: Mapping[str, float]
    """Measure -> the value below which most intervals of the calibration are wider than the limit."""

    def __call__(self, values: Doubles) -> Doubles:
        """Return half the width, (n,), for a table of conditions, (n, 5)."""
        return _by_bits(values, self.coded, self.unknown)


@dataclass(frozen=True)
class Likelihood(Record):
    """The probability that the class stays."""

    change: Forest
    """The part of such faces whose class is another."""
    steps: tuple[tuple[float, float, float], ...]
    """Triples of a probability of another class, the first 0, and the ends of the interval from there to the next."""

    def __call__(self, values: Doubles) -> Doubles:
        """Return the ends of the interval, (n, 2), for a table of conditions and confidence, (n, 6)."""
        names = (*MEASURES, CONFIDENCE)
        columns = [names.index(name) for name in self.change.measures]
        table = np.array(self.steps)
        step = np.searchsorted(table[:, 0], self.change(values[:, columns]), side="right") - 1
        return np.asarray(table[np.maximum(step, 0), 1:], np.float64)


@dataclass(frozen=True)
class Agreement(Record):
    """The part of the faces for which a classifier names the same class as on the undegraded face."""

    limit: float
    """The low end of the interval must be this high."""
    coded: Likelihood
    unknown: Likelihood
    """See `Errors`."""
    enough: Mapping[str, float]
    """See `Errors`; with ``confidence``."""

    def __call__(self, confidence: Doubles, values: Doubles) -> tuple[Doubles, Doubles]:
        """Return the ends of the interval, (n,) each, from largest probabilities (n,) and conditions (n, 5)."""
        ends = _by_bits(np.column_stack([values, confidence]), self.coded, self.unknown)
        return ends[..., 0], ends[..., 1]

    @property
    def best(self) -> float:
        """Return the highest low end of an interval: few recordings cannot show a high probability."""
        return max(low for _, low, _ in self.coded.steps)


def _by_bits(values: Doubles, coded: Widths | Likelihood, unknown: Widths | Likelihood) -> Doubles:
    blind = np.isnan(values[:, _BITS])
    if blind.all():
        return unknown(values)
    result = coded(np.nan_to_num(values))
    if blind.any():
        result[blind] = unknown(values[blind])
    return result
