"""Meaning of a net's outputs: the classes or the dimensions that it estimates.

A valence follows from the probabilities of the basic emotions. Their coordinates are the mean ratings of pleasure, from
-1 to 1, of the words happy, surprised, angry, disgusted, sad and fearful: Russell and Mehrabian, "Evidence for a
three-factor theory of emotions", Journal of Research in Personality 11 (1977), 273-294. They were taken from works that
cite the table, not from the table itself; the works agree. Neutral is the middle of the scale by definition.

They are ratings of words by students, not of faces; and the mean over probabilities takes a net's uncertainty for a
mild emotion. What is derived is therefore always called `valence_derived`, never `valence`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import FileError
from lq_emotion.common.records import Record

DERIVED_VALENCE = "valence_derived"
DERIVED_FROM = "Russell and Mehrabian 1977, mean pleasure of words"
VALENCE: Mapping[str, float] = MappingProxyType(
    {"angry": -0.51, "disgust": -0.60, "fear": -0.64, "happy": 0.81, "sad": -0.63, "surprise": 0.40, "neutral": 0.0}
)
"""Valence, -1 to 1, of each basic emotion, by the labels of FER-2013."""

_SYNONYMS = {
    "anger": "angry",
    "disgusted": "disgust",
    "fearful": "fear",
    "afraid": "fear",
    "happiness": "happy",
    "joy": "happy",
    "sadness": "sad",
    "surprised": "surprise",
}


@dataclass(frozen=True)
class Labels(Record):
    """The classes of a net that ends in a Softmax, in the order of the output's channels."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return ", ".join(self.names)


@dataclass(frozen=True)
class Dimension(Record):
    """A quantity that a net estimates, such as ``valence``; an estimate may exceed the ends of its scale."""

    name: str
    low: float
    high: float
    unit: str
    """The scale, such as ``AVEC 2015 gold standard``."""


@dataclass(frozen=True)
class Dimensions(Record):
    """The quantities that a net estimates, in the order of the output's channels."""

    dimensions: tuple[Dimension, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Return the name of each."""
        return tuple(dimension.name for dimension in self.dimensions)

    def __str__(self) -> str:
        return ", ".join(f"{d.name} ({d.low:g} to {d.high:g}, {d.unit})" for d in self.dimensions)


Outputs = Labels | Dimensions


def coordinates(labels: Labels) -> npt.NDArray[np.float64] | None:
    """Return the valence of each class, (k,) from -0.64 to 0.81; None where a class is no basic emotion.

    The derived valence is their mean under the probabilities of the classes.
    """
    names = [_SYNONYMS.get(name.lower(), name.lower()) for name in labels.names]
    if not all(name in VALENCE for name in names):
        return None
    return np.array([VALENCE[name] for name in names])


def outputs_text(outputs: Outputs) -> str:
    """Return the text of a file of labels, which `read_outputs` reads."""
    if isinstance(outputs, Labels):
        return "".join(f"{name}\n" for name in outputs.names)
    return "".join(f"{d.name}\t{d.low!r}\t{d.high!r}\t{d.unit}\n" for d in outputs.dimensions)


def read_outputs(file: str | os.PathLike[str]) -> Outputs:
    """Read a file of labels: a class a line, or a dimension a line: name, low, high and unit with tabs between."""
    from caffe_compat.export.portable import read_labels

    lines = read_labels(file)
    if not any("\t" in line for line in lines):
        return Labels(lines)
    return Dimensions(tuple(_dimension(line, number, Path(file)) for number, line in enumerate(lines, 1)))


def _dimension(line: str, number: int, file: Path) -> Dimension:
    cells = line.split("\t")
    try:
        name, low, high, unit = cells
        dimension = Dimension(name, float(low), float(high), unit)
    except ValueError:
        hint = "valence, -1, 1, AVEC 2015, with tabs between"
        problem = "expected name, low, high and unit"
        raise FileError(problem, code="syntax", file=file, line=number, value=line, hint=hint) from None
    if not dimension.low < dimension.high:
        problem = "expected a low end below the high end"
        raise FileError(problem, code="out-of-range", file=file, line=number, value=line)
    return dimension
