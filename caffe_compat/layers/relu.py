"""ReLU."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from caffe_compat.layers.base import Account, Layer, LayerSpec, register
from caffe_compat.layers.facts import Coordinates, OnnxWriter, Reads
from caffe_compat.layers.functions import Rectify


@register
class ReLU(Layer):
    """max(x, 0) + negative_slope min(x, 0)."""

    type = "ReLU"
    summary = "rectified linear, leaky with negative_slope"
    reads = Reads.BOTTOM
    rereads_in_place = True
    keeps_sign = True
    coordinates = Coordinates.SAME
    accounts = {
        "relu_param": Account(
            read=("negative_slope",), ignored={"engine": "chooses among kernels that compute the same"}
        )
    }

    def function(self, spec: LayerSpec) -> Rectify | None:
        slope = spec.param.relu_param.negative_slope
        return Rectify(lambda _: slope) if len(spec.bottoms[0]) in {2, 4} else None

    def module(self, spec: LayerSpec) -> nn.Module:
        slope = spec.param.relu_param.negative_slope
        return nn.LeakyReLU(slope) if slope else nn.ReLU()

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        slope = spec.param.relu_param.negative_slope
        if slope:
            return [onnx.node("LeakyRelu", onnx.bottoms[0], alpha=slope)]
        return [onnx.node("Relu", onnx.bottoms[0])]
