"""Which layer makes each value of a net and which ones read it, in-place layers told apart."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from caffe_compat.layers import View, facts
from caffe_compat.schema import caffe_pb2 as pb


@dataclass(eq=False)
class Value:
    """What a blob holds from one layer on, until an in-place layer overwrites it.

    Attributes
    ----------
    blob : its name.
    maker, index : number of the layer that makes it, and of its top.
    readers : numbers of the layers that take it, in their order.
    memory : the value that was first in the memory it lies in; its own where it has memory of its own.
    in_memory : of the first in a memory, all values in it, in order.
    """

    blob: str
    maker: int
    index: int
    readers: list[int] = field(default_factory=list)
    memory: Value | None = None
    in_memory: list[Value] = field(default_factory=list)

    @property
    def place(self) -> Value:
        """Return the value that the memory was made for."""
        return self if self.memory is None else self.memory


@dataclass
class Flow:
    """The values of a net.

    Attributes
    ----------
    layers : of one phase, in order.
    bottoms, tops : of each layer; a bottom that no layer above makes is None.
    """

    layers: Sequence[pb.LayerParameter]
    bottoms: list[list[Value | None]]
    tops: list[list[Value]]

    def values(self) -> list[Value]:
        """Return every value in the order they are made."""
        return [value for tops in self.tops for value in tops]

    def since_written(self, value: Value, number: int) -> list[Value]:
        """Return what lies in the memory of `value` above layer `number`: what was written last, then views of it."""
        in_memory = value.place.in_memory
        last = bisect_left(in_memory, number, key=attrgetter("maker"))
        first = last - 1
        while first > 0 and _is_view(self.layers[in_memory[first].maker]):
            first -= 1
        return in_memory[first:last]

    def overwrites(self, number: int) -> list[Value]:
        """Return the values that a layer replaces in their memory by others."""
        layer = self.layers[number]
        return [
            bottom
            for bottom, blob, top in zip(self.bottoms[number], layer.bottom, layer.top, strict=False)
            if bottom is not None and blob == top and not _is_view(layer)
        ]


def _is_view(layer: pb.LayerParameter) -> bool:
    """Tell whether the tops of a layer are the memory of its bottom."""
    return facts(layer.type).top_view(layer) is not View.NONE


def flow(layers: Sequence[pb.LayerParameter]) -> Flow:
    """Return the values of a net's layers, filtered for a phase."""
    current: dict[str, Value] = {}
    bottoms: list[list[Value | None]] = []
    tops: list[list[Value]] = []
    for number, layer in enumerate(layers):
        taken = [current.get(blob) for blob in layer.bottom]
        for value in taken:
            if value is not None:
                value.readers.append(number)
        made = []
        for index, blob in enumerate(layer.top):
            value = Value(blob, number, index)
            same = index < len(layer.bottom) and layer.bottom[index] == blob and current.get(blob)
            shared = same or (taken[0] if _is_view(layer) and taken else None)
            if shared:
                value.memory = shared.place
            value.place.in_memory.append(value)
            made.append(value)
        current |= {value.blob: value for value in made}
        bottoms.append(taken)
        tops.append(made)
    return Flow(layers, bottoms, tops)
