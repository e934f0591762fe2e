"""Nets as ONNX models.

Every layer type writes its own operators (``Layer.onnx``); this module joins them, after those of the image
preprocessing. A model has only standard operators of opset 17. Names of inputs and outputs are the blobs'.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from caffe_compat.build.net import CaffeNet
from caffe_compat.build.preprocess import Preprocessing
from caffe_compat.build.weights import caffe_blobs
from caffe_compat.errors import CaffeCompatError, FileError, NetError, raise_together
from caffe_compat.export.onnx_graph import FreeSizeError, LayerWriter, Node, OnnxGraph
from caffe_compat.export.portable import metadata, packages, preprocessing_of_net, require_inference
from caffe_compat.export.sizes import LayerSizes, NetSizes, possible_sizes
from caffe_compat.formats.atomic import atomic_path
from caffe_compat.graph.graph import LayerNode, NetGraph
from caffe_compat.layers import Layer

Extent = int | str
"""A height or width: a number, or the name of a size that is free."""


def image_shape(preprocessing: Preprocessing, shape: Sequence[Extent]) -> list[Extent]:
    """Return the shape of the images, (N, C, H, W), for a net that takes `shape`."""
    size: Sequence[Extent] | None = preprocessing.resize
    if size is None and preprocessing.mean is not None and preprocessing.mean.ndim == 3:
        size = preprocessing.mean.shape[1:]
    if size is None:
        size = ("image_height", "image_width") if preprocessing.crop else shape[2:]
    made: Sequence[Extent] = preprocessing.crop or size
    if any(a != b for a, b in zip(made, shape[2:], strict=True) if isinstance(b, int)):
        problem = f"the preprocessing makes images of {tuple(made)}, the net takes {tuple(shape[2:])}"
        field = "crop" if preprocessing.crop else "resize"
        raise NetError(problem, code="shape-mismatch", field=field, value=getattr(preprocessing, field))
    return [*shape[:2], *size]


def write_preprocessing(out: OnnxGraph, preprocessing: Preprocessing) -> str:
    """Write the preprocessing of the images in the input; return its result."""
    name, mean = preprocessing.input, preprocessing.mean
    onnx = LayerWriter(out, name, [name], {}, LayerSizes((), ()))
    x = onnx.node("Gather", name, [2, 1, 0], axis=1) if preprocessing.channels == "BGR" else name
    if preprocessing.raw_scale != 1:
        x = onnx.node("Mul", x, float(preprocessing.raw_scale))
    if mean is not None:
        x = onnx.node("Sub", x, mean.astype(np.float32).reshape(1, -1, *(mean.shape[1:] or (1, 1))))
    if preprocessing.crop is not None:
        crop = list(preprocessing.crop)
        size = onnx.node("Slice", onnx.node("Shape", x), [2], [4])
        start = onnx.node("Div", onnx.node("Sub", size, crop), [2, 2])
        x = onnx.node("Slice", x, start, onnx.node("Add", start, crop), [2, 3])
    return x if preprocessing.scale == 1 else onnx.node("Mul", x, float(preprocessing.scale))


OPSET = 17
"""The version of ONNX's operators that a model uses."""
_LARGEST = 2**31 - 1  # bytes of a protobuf message

Values = dict[str, str]
"""Blob -> the ONNX value that it has after the layers written so far."""


def to_onnx(net: CaffeNet, file: str | os.PathLike[str], *, with_preprocessing: bool = False) -> None:
    """Write a net as an ONNX model, complete or not at all.

    The batch size is free where the net allows it, and so are height and width (as in fully convolutional nets). The
    definition, the preprocessing and the labels go along as metadata, ``definition.prototxt``, ``preprocessing.json``
    and ``labels.txt``.

    With preprocessing the model takes images of (N, 3, H, W) in RGB, or (N, 1, H, W) for a net of gray images, with
    values of 0 to 255; where the preprocessing resizes, they must have that size already.
    """
    onnx, *_ = packages("export", "onnx", "onnx.checker", "onnx.helper", "onnx.numpy_helper")
    require_inference(net)
    model = _model(onnx, net.caffe, _written(net, preprocessing_of_net(net) if with_preprocessing else None))
    onnx.helper.set_model_props(model, metadata(net))
    if model.ByteSize() > _LARGEST:
        problem = f"the model has {model.ByteSize()} bytes, an ONNX file has at most {_LARGEST}"
        raise FileError(problem, code="too-large", file=file)
    onnx.checker.check_model(model, full_check=True)
    with atomic_path(file) as partial:
        partial.write_bytes(model.SerializeToString())


def exports(layer: Layer) -> bool:
    """Tell whether a layer type can be exported."""
    return layer.states("onnx")


@dataclass(frozen=True)
class _Written:
    """The output of a net's layers: nodes and constants, sizes of the blobs, and the last value of each blob."""

    graph: OnnxGraph
    sizes: NetSizes
    images: Mapping[str, Sequence[Extent]]
    """The input that takes images, and their shape."""
    values: Values


def _written(net: CaffeNet, preprocessing: Preprocessing | None) -> _Written:
    """Return what a net's layers write, with the most free sizes that they allow."""
    blobs = caffe_blobs(net)
    for sizes in possible_sizes(net.caffe):
        out, values = OnnxGraph(set(net.caffe.shapes)), {blob: blob for blob in net.inputs}
        images: dict[str, Sequence[Extent]] = {}
        if preprocessing is not None:
            blob = preprocessing.input
            images[blob] = image_shape(preprocessing, sizes.named(blob))
            values[blob] = write_preprocessing(out, preprocessing)
        try:
            _write_layers(net.caffe, sizes, {name: iter(given) for name, given in blobs.items()}, out, values)
        except FreeSizeError:
            continue
        return _Written(out, sizes, images, values)
    layers = [node for node in net.caffe.nodes if node.layer.open_axis is not None]
    problem = "cannot be exported to ONNX: layers behind it need one size of its top"
    raise layers[0].spec.error(problem, "type", layers[0].type, code="unsupported")


def _write_layers(
    graph: NetGraph, sizes: NetSizes, blobs: Mapping[str, Iterator[torch.Tensor]], out: OnnxGraph, values: Values
) -> None:
    """Write every layer and enter its tops into `values`; raise the problems of all layers together."""
    problems = list[CaffeCompatError]()
    last = {top: node for node in graph.nodes for top in node.tops}
    for node, layer_sizes in zip(graph.nodes, sizes.layers, strict=True):
        if node.layer.is_data:
            continue
        since = len(out.nodes)
        try:
            tops = _write_layer(out, node, layer_sizes, [values[blob] for blob in node.bottoms], blobs[node.name])
        except CaffeCompatError as error:
            problems.append(error)
            tops = list(node.tops)
        made = {value for written in out.nodes[since:] for value in written.outputs}
        for blob, value in zip(node.tops, tops, strict=True):
            values[blob] = value
            if value in made and last[blob] is node and blob not in graph.inputs:
                out.rename(value, blob, since)
                values[blob] = blob
                made.discard(value)
    raise_together(problems)


def _write_layer(
    out: OnnxGraph, node: LayerNode, sizes: LayerSizes, bottoms: list[str], blobs: Iterator[torch.Tensor]
) -> list[str]:
    parameters = {slot.blob.name: next(blobs).float().reshape(slot.blob.shape).numpy() for slot in node.slots}
    layer = type(node.layer) if exports(node.layer) else Layer
    return list(layer.onnx(node.layer, node.spec, LayerWriter(out, node.name, bottoms, parameters, sizes)))


def _model(onnx: Any, graph: NetGraph, net: _Written) -> Any:
    """Return the protobuf message of a model."""
    helper, float32, out, values = onnx.helper, onnx.TensorProto.FLOAT, net.graph, net.values
    for blob in graph.outputs:
        if values[blob] != blob and blob not in graph.inputs:
            out.nodes.append(Node("Identity", blob, [values[blob]], [blob], {}))
            values[blob] = blob
    shapes = {blob: net.sizes.named(blob) for blob in (*graph.inputs, *graph.outputs)}
    inputs = [helper.make_tensor_value_info(b, float32, net.images.get(b, shapes[b])) for b in graph.inputs]
    outputs = [helper.make_tensor_value_info(values[b], float32, shapes[b]) for b in graph.outputs]
    constants = [onnx.numpy_helper.from_array(value, name) for name, value in out.constants.items()]
    nodes = [
        helper.make_node(node.operator, node.inputs, node.outputs, node.name, **node.attributes) for node in out.nodes
    ]
    body = helper.make_graph(nodes, graph.name or "net", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(body, opset_imports=opsets, producer_name="caffe-compat")
    model.ir_version = helper.find_min_ir_version_for(opsets)
    return model
