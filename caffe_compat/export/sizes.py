"""Find the sizes of a net that may vary: its shapes are inferred again for inputs of other sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from caffe_compat.errors import CaffeCompatError
from caffe_compat.graph.graph import LayerNode, NetGraph
from caffe_compat.layers import Shape
from caffe_compat.layers.facts import Sizes

Size = tuple[int, ...]
"""The values that one size takes in the trials, one for each."""

Shapes = tuple[Shape, ...]

_AXES = {"batch": 0, "height": 2, "width": 3}
_CHOICES = (("batch", "height", "width"), ("height", "width"), ("batch",), ())
"""The free axes of the inputs, the most first."""
_TRIALS = {"batch": (0, 1, 2, 67), "height": (0, 1, 2, 131), "width": (0, 2, 1, 259)}
"""The increment of a size in each trial: small, but larger than a net's total stride; each axis has its own."""


@dataclass(frozen=True)
class LayerSizes:
    """The sizes of a layer's blobs in all trials."""

    bottoms: tuple[tuple[Size, ...], ...]
    tops: tuple[tuple[Size, ...], ...]


@dataclass(frozen=True)
class NetSizes:
    """The sizes of a net in all trials, by layer of the graph and by blob, and the names of free sizes."""

    layers: tuple[LayerSizes, ...]
    blobs: Mapping[str, tuple[Size, ...]]
    names: Mapping[Size, str]

    def named(self, blob: str) -> list[int | str]:
        """Return the shape of a blob, with names for the sizes that are free."""
        sizes = self.blobs[blob]
        return [
            fixed if fixed is not None else self.names.get(size, f"{blob}_{axis}")
            for axis, (size, fixed) in enumerate(zip(sizes, free(sizes), strict=True))
        ]


def free(sizes: Sequence[Size]) -> Sizes:
    """Return a shape with None for the sizes that vary."""
    return tuple(size[0] if len(set(size)) == 1 else None for size in sizes)


def possible_sizes(graph: NetGraph) -> Iterator[NetSizes]:
    """Yield the sizes of a net for all that may be free in its inputs, the most first; at last with none free.

    A size may be free where every layer accepts other values of it, with parameter blobs of the same shapes. Nothing is
    yielded where layers need one size of a blob whose size depends on values.
    """
    for choice in _CHOICES:
        names = dict[Size, str]()
        trials = [_shapes(graph, inputs, trial) for trial, inputs in enumerate(_inputs(graph, choice, names))]
        if any(trial is None for trial in trials):
            continue
        complete = [trial for trial in trials if trial is not None]
        layers = [LayerSizes(*(_joined(side) for side in zip(*of, strict=True))) for of in zip(*complete, strict=True)]
        made = [
            pair
            for node, sizes in zip(graph.nodes, layers, strict=True)
            for pair in zip(node.tops, sizes.tops, strict=True)
        ]
        yield NetSizes(tuple(layers), dict(made), names)


def _joined(trials: Sequence[Sequence[Shape]]) -> tuple[tuple[Size, ...], ...]:
    """Return the sizes of each blob of a layer in the trials."""
    return tuple(tuple(zip(*shapes, strict=True)) for shapes in zip(*trials, strict=True))


def _inputs(graph: NetGraph, choice: Sequence[str], names: dict[Size, str]) -> list[dict[str, Shape]]:
    """Return the shapes of the inputs in each trial, and enter the names of free sizes."""
    trials = range(len(_TRIALS["batch"]))
    shapes = {blob: [(size,) * len(trials) for size in graph.shapes[blob]] for blob in graph.inputs}
    batch = next((shape[0] for shape in shapes.values() if shape), None)
    for blob, sizes in shapes.items():
        for axis in choice:
            index = _AXES[axis]
            if sizes and (sizes[0] == batch if axis == "batch" else len(sizes) == 4):
                sizes[index] = tuple(size + more for size, more in zip(sizes[index], _TRIALS[axis], strict=True))
                names.setdefault(sizes[index], axis if axis not in names.values() else f"{blob}_{axis}")
    return [{blob: tuple(size[trial] for size in sizes) for blob, sizes in shapes.items()} for trial in trials]


def _shapes(graph: NetGraph, inputs: Mapping[str, Shape], trial: int) -> list[tuple[Shapes, Shapes]] | None:
    """Return the shapes of every layer's bottoms and tops, or None where a layer does not accept its bottoms."""
    blobs, layers = dict[str, Shape](), []
    for node in graph.nodes:
        bottoms = tuple(blobs[blob] for blob in node.bottoms)
        tops = tuple(inputs[top] for top in node.tops) if node.layer.is_data else _tops(node, bottoms, trial)
        if tops is None:
            return None
        blobs |= zip(node.tops, tops, strict=True)
        layers.append((bottoms, tops))
    return layers


def _tops(node: LayerNode, bottoms: Shapes, trial: int) -> Shapes | None:
    layer, spec = node.layer, replace(node.spec, bottoms=bottoms)
    try:
        if list(layer.check(spec)) or [blob.shape for blob in layer.blobs(spec)] != [s.blob.shape for s in node.slots]:
            return None
        tops = layer.top_shapes(spec)
    except CaffeCompatError:
        return None
    if layer.open_axis is None:
        return tops
    return tuple(tuple(size + trial * (i == layer.open_axis) for i, size in enumerate(top)) for top in tops)
