"""Provide nets with data: from their sources, or generated if the sources cannot be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from caffe_compat.data import CRand, DataSource, in_phase, open_source
from caffe_compat.definition.prepare import PreparedNet
from caffe_compat.errors import CaffeCompatError
from caffe_compat.graph.graph import InputShapes, NetGraph, build_graph
from caffe_compat.layers import Shape, Source, facts
from caffe_compat.layers.data import ImageFed
from caffe_compat.runtime.closing import Closing
from caffe_compat.schema import caffe_pb2 as pb


@dataclass
class Feed(Closing):
    """A shaped net and its data sources, which stay open until the feed is closed."""

    graph: NetGraph
    sources: tuple[DataSource, ...]
    made_up: Mapping[str, Shape]
    """Blob -> shape, for blobs filled with values generated from `seed`."""
    notes: tuple[str, ...]
    """A line per layer whose data is made up, with the reason."""
    seed: int = 0
    _drawn: dict[str, torch.Tensor] = field(default_factory=dict)

    def made_up_batch(self) -> dict[str, torch.Tensor]:
        """Return the generated values by blob, the same on every call; labels and indices are 0."""
        if not self._drawn:
            generator = torch.Generator().manual_seed(self.seed)
            integers = whole_number_blobs(self.graph)
            for blob, shape in self.made_up.items():
                is_integer = blob in integers
                self._drawn[blob] = torch.zeros(shape) if is_integer else torch.randn(shape, generator=generator)
        return dict(self._drawn)

    def close(self) -> None:
        """Close the sources."""
        for source in self.sources:
            source.close()

    def next(self) -> dict[str, torch.Tensor]:
        """Return a batch by blob: the next batch of each source, and the generated values."""
        batch = self.made_up_batch()
        for source in self.sources:
            batch |= source.next()
        return batch


def feed(net: PreparedNet, *, input_shapes: InputShapes | None = None, made_up: bool = True, seed: int = 0) -> Feed:
    """Infer the shapes of a net; `made_up` generates values from `seed` for data that cannot be read.

    A data layer is not opened if `input_shapes` has all of its tops.
    """
    shapes: dict[str, Shape] = {blob: tuple(shape) for blob, shape in (input_shapes or {}).items()}
    sources: list[DataSource] = []
    notes: list[str] = []
    for layer in net.message.layer:
        source_kind = facts(layer.type).source
        if source_kind in (Source.NONE, Source.CALLER) or all(top in shapes for top in layer.top):
            continue
        reason = ""
        if source_kind is not Source.ARRAYS:
            try:
                source = open_source(in_phase(layer, net.message), base_dir=net.base_dir, rng=CRand())
                sources.append(source)
                shapes |= {top: tuple(source.shapes[top]) for top in layer.top}
                continue
            except CaffeCompatError as error:
                if not made_up:
                    raise
                reason = str(error)
        shapes |= guessed_shapes(layer, shapes)
        if all(top in shapes for top in layer.top):
            shown = ", ".join(f"{top} {'x'.join(map(str, shapes[top]))}" for top in layer.top)
            notes.append(f"layer {layer.name!r}: made up, {shown}" + (f" ({reason})" if reason else ""))
    graph = build_graph(net, input_shapes=shapes)
    read = {top for source in sources for top in source.tops}
    made_up_shapes = {blob: graph.shapes[blob] for blob in graph.inputs if blob not in read}
    return Feed(graph, tuple(sources), made_up_shapes, tuple(notes), seed)


def guessed_shapes(layer: pb.LayerParameter, given: InputShapes) -> dict[str, Shape]:
    """Infer shapes of a data layer's tops from its fields (batch size, crop, colour), as far as they suffice."""
    feeder = facts(layer.type)
    if not isinstance(feeder, ImageFed) or not layer.top:
        return {}
    data, *labels = layer.top
    batch = next(iter(given.get(data, ())), 0) or feeder.batch_size(layer)
    shapes: dict[str, Shape] = dict.fromkeys(labels, feeder.label_shape(batch)) if batch else {}
    image = feeder.image_shape(layer)
    if batch and all(image):
        shapes[data] = (batch, *image)
    return {top: shape for top, shape in shapes.items() if top not in given}


def whole_number_blobs(graph: NetGraph) -> set[str]:
    """Return the blobs that must be whole numbers: labels, indices, selectors, and the blobs they are copied from."""
    blobs: set[str] = set()
    for node in reversed(graph.nodes):
        blobs.update(node.bottoms[index] for index in node.layer.whole_number_bottoms(len(node.bottoms)))
        if node.layer.keeps_values and blobs.intersection(node.tops):
            blobs.update(node.bottoms)
    return blobs
