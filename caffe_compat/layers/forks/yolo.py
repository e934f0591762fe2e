"""Upsample of the Caffe ports of YOLOv3."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import Account, Layer, LayerSpec, Shape, register
from caffe_compat.layers.facts import OnnxWriter, Witness


@register
class YOLOUpsample(Layer):
    """Every value as a square of itself."""

    type = "Upsample"
    forks = ("yolov3",)
    summary = "nearest neighbour, by a whole factor"
    origin = "src/caffe/layers/upsample_layer.cpp"
    witness = Witness.TRANSCRIPTION
    accounts = {"upsample_param": Account(read=("scale",))}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        scale = spec.message("upsample_param").scale
        if scale < 1:
            yield spec.error("must be positive", "upsample_param.scale", scale, code="out-of-range")
        if len(spec.bottoms[0]) != 4:
            yield spec.error("the bottom must have 4 axes", "bottom", spec.bottoms[0], code="shape-mismatch")

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        scale, shape = spec.message("upsample_param").scale, spec.bottoms[0]
        return ((*shape[:2], *(size * scale for size in shape[2:])),)

    def module(self, spec: LayerSpec) -> nn.Module:
        return nn.Upsample(scale_factor=spec.message("upsample_param").scale, mode="nearest")

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        scale = float(spec.message("upsample_param").scale)
        scales = np.array([1, 1, scale, scale], np.float32)
        modes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return [onnx.node("Resize", onnx.bottoms[0], "", scales, **modes)]
