"""Nets that can be run here and now: data from their sources where these are there, made up where they are not."""

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
    """A shaped net and what to run it on, which is open until the feed is closed.

    Attributes
    ----------
    graph : the net.
    sources : data layers whose data can be read.
    made_up : blobs that get values from a generator, with their shapes.
    notes : what was made up in place of data that cannot be read, one line for each layer.
    seed : of the generator; the same values come again for it.
    """

    graph: NetGraph
    sources: tuple[DataSource, ...]
    made_up: Mapping[str, Shape]
    notes: tuple[str, ...]
    seed: int = 0
    _drawn: dict[str, torch.Tensor] = field(default_factory=dict)

    def made_up_batch(self) -> dict[str, torch.Tensor]:
        """Return the made-up values by blob, always the same; labels and indices are 0."""
        if not self._drawn:
            generator = torch.Generator().manual_seed(self.seed)
            whole = whole_number_blobs(self.graph)
            for blob, shape in self.made_up.items():
                zero = blob in whole
                self._drawn[blob] = torch.zeros(shape) if zero else torch.randn(shape, generator=generator)
        return dict(self._drawn)

    def close(self) -> None:
        """Close the sources."""
        for source in self.sources:
            source.close()

    def next(self) -> dict[str, torch.Tensor]:
        """Return a batch by blob: the next of each source, and the made-up values."""
        batch = self.made_up_batch()
        for source in self.sources:
            batch |= source.next()
        return batch


def feed(
    net: PreparedNet,
    *,
    input_shapes: InputShapes | None = None,
    made_up: bool = True,
    seed: int = 0,
) -> Feed:
    """Shape a net, its data layers included.

    Parameters
    ----------
    net : the prepared definition.
    input_shapes : shapes of fed blobs; a data layer whose tops are all here is not opened.
    made_up : make up the values of data layers whose data cannot be read; else that is an error.
    seed : of made-up values.

    Raises
    ------
    CaffeCompatError
        everything wrong with the net, or an input whose shape nothing tells.
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
            told = ", ".join(f"{top} {'x'.join(map(str, shapes[top]))}" for top in layer.top)
            notes.append(f"layer {layer.name!r}: made up, {told}" + (f" ({reason})" if reason else ""))
    graph = build_graph(net, input_shapes=shapes)
    read_here = {top for source in sources for top in source.tops}
    left = {blob: graph.shapes[blob] for blob in graph.inputs if blob not in read_here}
    return Feed(graph, tuple(sources), left, tuple(notes), seed)


def guessed_shapes(layer: pb.LayerParameter, known: InputShapes) -> dict[str, Shape]:
    """Return the shapes that a data layer's fields imply: batch size, crop, colour; of tops that they tell enough of.

    Parameters
    ----------
    known : shapes that are known already; a label has as many rows as the data.
    """
    feeder = facts(layer.type)
    if not isinstance(feeder, ImageFed) or not layer.top:
        return {}
    data, *labels = layer.top
    batch = next(iter(known.get(data, ())), 0) or feeder.batch_size(layer)
    shapes: dict[str, Shape] = dict.fromkeys(labels, (batch,)) if batch else {}
    image = feeder.image_shape(layer)
    if batch and all(image):
        shapes[data] = (batch, *image)
    return {top: shape for top, shape in shapes.items() if top not in known}


def whole_number_blobs(graph: NetGraph) -> set[str]:
    """Return the blobs that must hold whole numbers: labels, indices, selectors, and what they are copies of."""
    blobs: set[str] = set()
    for node in reversed(graph.nodes):
        blobs.update(node.bottoms[index] for index in node.layer.whole_number_bottoms(len(node.bottoms)))
        if node.layer.keeps_values and blobs.intersection(node.tops):
            blobs.update(node.bottoms)
    return blobs
