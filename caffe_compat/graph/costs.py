"""What a layer costs: multiply-accumulates and memory."""

from __future__ import annotations

import math

from caffe_compat.graph.graph import NetGraph, Node

_FLOAT = 4  # bytes
_PER_VALUE = 16  # multiply-accumulates that a core does while it reads and writes one value
_SHARED = frozenset({"Split", "Reshape", "Flatten"})


def macs(node: Node) -> int:
    """Return the multiply-accumulates of a forward pass: convolutions, inner products, recurrences; biases left out.

    Every weight takes part once for each place it is applied at: a convolution's at every output position, a
    deconvolution's at every input position, an inner product's in every row, a recurrence's in every step and row.
    """
    weights = [slot.blob.shape for slot in node.slots if len(slot.blob.shape) > 1]
    if not weights or node.type == "Embed":
        return 0
    values = sum(math.prod(shape) for shape in weights)
    bottoms, param = node.spec.bottoms, node.spec.param
    if node.type in ("Convolution", "ConvolutionDepthwise", "DepthwiseConvolution"):
        axis = _axis(param.convolution_param.axis, bottoms[0])
        tops = node.layer.top_shapes(node.spec)
        return sum(values * math.prod(top[:axis]) * math.prod(top[axis + 1 :]) for top in tops)
    if node.type == "Deconvolution":
        axis = _axis(param.convolution_param.axis, bottoms[0])
        return sum(values * math.prod(bottom[:axis]) * math.prod(bottom[axis + 1 :]) for bottom in bottoms)
    if node.type == "InnerProduct":
        return values * math.prod(bottoms[0][: _axis(param.inner_product_param.axis, bottoms[0])])
    if node.type in ("LSTM", "RNN"):
        return values * math.prod(bottoms[0][:2])
    return 0


def _axis(axis: int, shape: tuple[int, ...]) -> int:
    return axis % len(shape)


def work(graph: NetGraph) -> int:
    """Return what a forward pass costs in all, in multiply-accumulates; each value of a blob counts for some."""
    values = sum(math.prod(shape) for shape in graph.shapes.values())
    return sum(macs(node) for node in graph.nodes) + _PER_VALUE * values


def top_bytes(graph: NetGraph, node: Node) -> int:
    """Return the memory of a layer's tops in single precision; none for what lies in the memory of a bottom."""
    if node.type in _SHARED:
        return 0
    return sum(_FLOAT * math.prod(graph.shapes[top]) for top in node.tops if top not in node.bottoms)


def caffe_data_bytes(graph: NetGraph) -> int:
    """Return what Caffe logs as ``Memory required for data``: all tops of all layers, in place and split ones too."""
    return sum(_FLOAT * math.prod(graph.shapes[top]) for node in graph.nodes for top in node.tops)
