"""What the outputs of a net mean: the classes or the dimensions that it estimates."""

from __future__ import annotations

from dataclasses import dataclass

from lq_emotion.common.records import Record


@dataclass(frozen=True)
class Labels(Record):
    """The classes of a net that ends in a Softmax.

    Attributes
    ----------
    names : in the order of the output's channels.
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
    low, high : the ends of its scale; an estimate may lie beyond them.
    unit : what the scale is, such as ``AVEC 2015 gold standard``.
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
