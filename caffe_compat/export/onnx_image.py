"""The preprocessing of images as the first nodes of an ONNX model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe_compat.build.preprocess import Preprocessing
from caffe_compat.errors import NetError
from caffe_compat.export.onnx_graph import LayerWriter, OnnxGraph
from caffe_compat.export.sizes import LayerSizes

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
    """Write what is done to the images in the input; return the value that the net takes."""
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
