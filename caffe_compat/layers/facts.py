"""The vocabulary in which layer types state facts about themselves: values of the attributes of Layer."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy.typing as npt
import torch


class Reads(enum.Flag):
    """The values that a backward pass of Caffe's reads."""

    NOTHING = 0
    BOTTOM = enum.auto()
    TOP = enum.auto()


class Gradient(enum.Enum):
    """The use of a gradient that reaches a layer."""

    PASSES = enum.auto()
    STOPS = enum.auto()
    """The backward pass does nothing."""
    REFUSED = enum.auto()
    """Caffe ends the program."""


class View(enum.Enum):
    """The memory that the tops of a layer share with its first bottom."""

    NONE = enum.auto()
    VALUES = enum.auto()
    """The tops share the values; the gradients of several tops add up."""
    VALUES_THEN_GRADIENTS = enum.auto()
    """The top shares the values, and from the first backward pass on the gradients."""
    VALUES_AND_GRADIENTS = enum.auto()


class Source(enum.Enum):
    """The source of a data layer's tops."""

    NONE = enum.auto()
    """It is no data layer."""
    CALLER = enum.auto()
    """Whoever runs the net fills them."""
    FILLERS = enum.auto()
    ARRAYS = enum.auto()
    FILES = enum.auto()


class Evidence(enum.StrEnum):
    """The reference that a fork's layer type was checked against, the strongest first."""

    RECORDED = "Recording"
    """Values that a build of the fork computed."""
    WEIGHTS = "Published weights"
    """Nets with weights that their authors published, against another program that runs them."""
    TRANSCRIPTION = "Transcription"
    """A slow transcription of the fork's code, written apart from the layer."""
    TESTS = "Tests"
    """Tests of the behaviour of the fork's code, without a second program: of layers that draw or read files."""


class Coordinates(enum.Enum):
    """The map from the coordinates of a top to those of the bottom (``caffe.coord_map``)."""

    NONE = enum.auto()
    SAME = enum.auto()
    WINDOW = enum.auto()
    TRANSPOSED_WINDOW = enum.auto()
    OFFSET = enum.auto()


@dataclass(frozen=True)
class Drawing:
    """The colour of a layer's box (by default that of pycaffe's draw module), and whether its lr_mult can be shown."""

    colour: str = "#6495ED"
    lr_mult: bool = False


class Memory(Protocol):
    """A blob as a layer meets it going backward: the values in its memory by then."""

    def values(self, where: torch.device, /) -> torch.Tensor:
        """Return the values on a device."""
        ...

    def gradients(self, where: torch.device, /) -> torch.Tensor:
        """Return the gradients on a device."""
        ...


@dataclass(frozen=True)
class Memories:
    """The blobs of a layer after it has run; in place, a bottom and a top are one object."""

    bottoms: Sequence[Memory]
    tops: Sequence[Memory]
    where: torch.device
    """The device to compute on."""
    inputs: Sequence[torch.Tensor]
    """The values that it took from its bottoms; their memory may have changed since."""
    outputs: Sequence[torch.Tensor]
    """The values that it put into its tops."""

    @property
    def in_place(self) -> bool:
        """Tell whether the first top is the first bottom."""
        return self.bottoms[0] is self.tops[0]

    @property
    def is_changed(self) -> bool:
        """Tell whether the first top no longer has the layer's output, or its first bottom no longer what it took."""
        return self.in_place or not torch.equal(self.outputs[0], self.tops[0].values(self.where))


@runtime_checkable
class Continuing(Protocol):
    """A module that remembers something between passes, which another one, made for other shapes, takes over."""

    def go_on_from(self, other: Any, /) -> None:
        """Take over the state of another module of the layer."""
        ...


Sizes = tuple[int | None, ...]
"""A shape; None means a free size."""

Operand = str | float | Sequence[int] | npt.NDArray[Any]
"""An input of an ONNX operator: the name of a value, a float32, a list of int64, or an array."""


class OnnxType(enum.IntEnum):
    """The element types of ONNX's Cast, by number (TensorProto.DataType)."""

    FLOAT32 = 1
    INT64 = 7
    BOOL = 9


class OnnxWriter(Protocol):
    """Writes the computation of one layer as nodes of an ONNX graph."""

    @property
    def bottoms(self) -> Sequence[str]:
        """Return the values of the bottoms."""
        ...

    @property
    def blobs(self) -> Sequence[npt.NDArray[Any]]:
        """Return the parameter blobs in Caffe's order and shape."""
        ...

    @property
    def bottom_shapes(self) -> Sequence[Sizes]:
        """Return the shapes of the bottoms."""
        ...

    @property
    def top_shapes(self) -> Sequence[Sizes]:
        """Return the shapes of the tops."""
        ...

    def node(self, operator: str, *inputs: Operand, **attributes: Any) -> str:
        """Append a node with one output; return the output."""
        ...

    def nodes(self, operator: str, *inputs: Operand, outputs: int, **attributes: Any) -> list[str]:
        """Append a node with several outputs; return them."""
        ...

    def fixed(self, sizes: Sizes) -> tuple[int, ...]:
        """Return sizes that the layer needs as numbers; where one is free, the net is exported for fixed sizes."""
        ...

    def as_top(self, value: str, index: int = 0) -> str:
        """Return `value` in the shape of a top."""
        ...


def drawn_window(kernel: Sequence[int], stride: Sequence[int], pad: Sequence[int]) -> list[str]:
    """Return the lines that describe a window in a drawing."""
    return [f"kernel size: {drawn_extent(kernel)}", f"stride: {drawn_extent(stride)}", f"pad: {drawn_extent(pad)}"]


def drawn_extent(values: Sequence[int]) -> str:
    """Return the extents of a window, once where all axes have the same."""
    return str(values[0]) if len(set(values)) == 1 else "x".join(map(str, values))
