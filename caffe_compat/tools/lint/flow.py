"""The flow of values in a net: the layer that makes each value and those that read it, in-place layers resolved."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from caffe_compat.layers import View, facts
from caffe_compat.schema import caffe_pb2 as pb


@dataclass(eq=False)
class Value:
    """The content of a blob, from the layer that makes it until an in-place layer overwrites it."""

    blob: str
    maker: int
    """Index of the layer that makes it, as top `index`."""
    index: int
    readers: list[int] = field(default_factory=list)
    """Indices of the layers that read it, in order."""
    memory: Value | None = None
    """The value that first occupied its memory, or None if it is the first itself."""
    in_memory: list[Value] = field(default_factory=list)
    """For the first value of a memory, all values in it, in order."""

    @property
    def place(self) -> Value:
        """Return the value that first occupied the memory."""
        return self if self.memory is None else self.memory


@dataclass
class Flow:
    """The values of a net's layers in a phase; a bottom that no layer above makes is None."""

    layers: Sequence[pb.LayerParameter]
    bottoms: list[list[Value | None]]
    tops: list[list[Value]]

    def values(self) -> list[Value]:
        """Return all values in the order in which they are made."""
        return [value for tops in self.tops for value in tops]

    def since_written(self, value: Value, number: int) -> list[Value]:
        """Return the content of the memory of `value` above layer `number`: the last value written, then its views."""
        in_memory = value.place.in_memory
        last = bisect_left(in_memory, number, key=attrgetter("maker"))
        first = last - 1
        while first > 0 and _is_view(self.layers[in_memory[first].maker]):
            first -= 1
        return in_memory[first:last]

    def overwrites(self, number: int) -> list[Value]:
        """Return the values that a layer overwrites in place."""
        layer = self.layers[number]
        return [
            bottom
            for bottom, blob, top in zip(self.bottoms[number], layer.bottom, layer.top, strict=False)
            if bottom is not None and blob == top and not _is_view(layer)
        ]


def _is_view(layer: pb.LayerParameter) -> bool:
    """Tell whether the tops of a layer share the memory of its bottom."""
    return facts(layer.type).top_view(layer) is not View.NONE


def flow(layers: Sequence[pb.LayerParameter]) -> Flow:
    """Return the values of a net's layers, filtered for a phase."""
    current: dict[str, Value] = {}
    bottoms: list[list[Value | None]] = []
    tops: list[list[Value]] = []
    for number, layer in enumerate(layers):
        inputs = [current.get(blob) for blob in layer.bottom]
        for value in inputs:
            if value is not None:
                value.readers.append(number)
        outputs = []
        for index, blob in enumerate(layer.top):
            value = Value(blob, number, index)
            same = index < len(layer.bottom) and layer.bottom[index] == blob and current.get(blob)
            shared = same or (inputs[0] if _is_view(layer) and inputs else None)
            if shared:
                value.memory = shared.place
            value.place.in_memory.append(value)
            outputs.append(value)
        current |= {value.blob: value for value in outputs}
        bottoms.append(inputs)
        tops.append(outputs)
    return Flow(layers, bottoms, tops)
