"""The lines of Caffe's log about building a net: BVLC Caffe 9b89154, net.cpp (Net::Init) and layer_factory.hpp.

They are written before and after a net is built. Lines that a layer logs in its set-up (the files of a data layer, the
net inside an LSTM) are not among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from caffe_compat.definition.prepare import PreparedNet
from caffe_compat.formats.files import format_text
from caffe_compat.graph.backward import needs
from caffe_compat.graph.graph import LayerNode, NetGraph
from caffe_compat.graph.sharing import Slot
from caffe_compat.layers.base import Shape, count
from caffe_compat.solver.log import number

Lines = Iterator[tuple[str, str]]
"""Place in Caffe's source, and text."""

_FLOAT = 4  # bytes


def before(net: PreparedNet) -> Lines:
    """Yield the lines before those of the first layer: the rules that left layers out, and the net that remains."""
    yield from net.rules
    yield "net.cpp:53", "Initializing net from parameters: \n" + format_text(net.message)


def after(graph: NetGraph) -> Lines:
    """Yield the lines about the layers, first to last, of their backward passes, last to first, and of the end."""
    owners = {slot.key: slot for slot in graph.slots}
    size = 0
    for node in graph.nodes:
        size += sum(_FLOAT * count(graph.shapes[top]) for top in node.tops)
        yield from _connections(node)
        yield "net.cpp:124", f"Setting up {node.name}"
        yield from _tops(graph, node)
        yield "net.cpp:139", f"Memory required for data: {size}"
        yield from _sharing(owners, node)
    passes = needs(graph.nodes, force=False)
    for node, need in zip(reversed(graph.nodes), reversed(passes), strict=True):
        if need.layer:
            yield "net.cpp:200", f"{node.name} needs backward computation."
        else:
            yield "net.cpp:202", f"{node.name} does not need backward computation."
    for blob in graph.outputs:
        yield "net.cpp:244", f"This network produces output {blob}"
    yield "net.cpp:257", "Network initialization done."


def _connections(node: LayerNode) -> Lines:
    name = node.name
    yield "layer_factory.hpp:77", f"Creating layer {name}"
    yield "net.cpp:86", f"Creating Layer {name}"
    for bottom in node.bottoms:
        yield "net.cpp:408", f"{name} <- {bottom}"
    for index, top in enumerate(node.tops):
        if index < len(node.bottoms) and node.bottoms[index] == top:
            yield "net.cpp:369", f"{name} -> {top} (in-place)"
        else:
            yield "net.cpp:382", f"{name} -> {'(automatic)' if top == f'{name} (automatic)' else top}"
    if node.layer.has_inner_layer(node.spec.param):  # the Softmax or the Bias is made like any other layer
        yield "layer_factory.hpp:77", f"Creating layer {name}"


def _shape(shape: Shape) -> str:
    return "".join(f"{size} " for size in shape) + f"({count(shape)})"


def _tops(graph: NetGraph, node: LayerNode) -> Lines:
    for top, weight in zip(node.tops, node.loss_weights, strict=True):
        yield "net.cpp:131", f"Top shape: {_shape(graph.shapes[top])}"
        if weight:
            yield "net.cpp:134", f"    with loss weight {number(weight)}"


def _sharing(owners: Mapping[str, Slot], node: LayerNode) -> Lines:
    for slot in node.slots:
        if slot.owner is not None:
            owner, name = owners[slot.owner], node.spec.param.param[slot.index].name
            place = f"layer '{owner.layer}', param index {owner.index}"
            yield "net.cpp:467", f"Sharing parameters '{name}' owned by {place}"
