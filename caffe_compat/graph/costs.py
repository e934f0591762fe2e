"""Costs of a layer: multiply-accumulates and memory."""

from __future__ import annotations

import math

from caffe_compat.graph.graph import LayerNode, NetGraph
from caffe_compat.layers import View

_FLOAT = 4  # bytes
_PER_VALUE = 16  # multiply-accumulates that a core does while it reads and writes one value


def node_work(graph: NetGraph, node: LayerNode) -> int:
    """Return the cost of a layer in multiply-accumulates; each value of its bottoms and tops counts as several."""
    return node.layer.macs(node.spec) + _PER_VALUE * sum(
        math.prod(graph.shapes[blob]) for blob in (*node.bottoms, *node.tops)
    )


def work(graph: NetGraph) -> int:
    """Return the cost of a forward pass in multiply-accumulates; each value of a blob counts as several."""
    values = sum(math.prod(shape) for shape in graph.shapes.values())
    return sum(node.layer.macs(node.spec) for node in graph.nodes) + _PER_VALUE * values


def top_bytes(graph: NetGraph, node: LayerNode) -> int:
    """Return the memory of a layer's tops in single precision; none for those in the memory of a bottom."""
    if node.layer.top_view(node.spec.param) is not View.NONE:
        return 0
    return sum(_FLOAT * math.prod(graph.shapes[top]) for top in node.tops if top not in node.bottoms)


def caffe_data_bytes(graph: NetGraph) -> int:
    """Return Caffe's ``Memory required for data``: all tops of all layers, in place and split ones too."""
    return sum(_FLOAT * math.prod(graph.shapes[top]) for node in graph.nodes for top in node.tops)
