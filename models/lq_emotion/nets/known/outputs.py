"""Meaning of a net's outputs: the classes or the dimensions that it estimates."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from caffe_compat.errors import FileError
from lq_emotion.common.records import Record


@dataclass(frozen=True)
class Labels(Record):
    """The classes of a net that ends in a Softmax.

    Attributes
    ----------
    names : class names in the order of the output's channels.
    """

    names: tuple[str, ...]

    def __str__(self) -> str:
        return ", ".join(self.names)


@dataclass(frozen=True)
class Dimension(Record):
    """A quantity that a net estimates.

    Attributes
    ----------
    name : such as ``valence``.
    low, high : the ends of its scale; an estimate may exceed them.
    unit : the scale, such as ``AVEC 2015 gold standard``.
    """

    name: str
    low: float
    high: float
    unit: str


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
