"""Softmax."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from caffe_compat.layers.base import Account, Layer, LayerSpec, register
from caffe_compat.layers.facts import OnnxWriter, Reads


@register
class Softmax(Layer):
    """exp(x) / sum exp(x) along one axis."""

    type = "Softmax"
    summary = "softmax along an axis"
    reads = Reads.TOP
    ignores_propagate_down = True
    accounts = {
        "softmax_param": Account(read=("axis",), ignored={"engine": "chooses among kernels that compute the same"})
    }

    def module(self, spec: LayerSpec) -> nn.Module:
        return nn.Softmax(spec.axis(spec.param.softmax_param.axis, "softmax_param.axis"))

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        axis = spec.axis(spec.param.softmax_param.axis, "softmax_param.axis")
        return [onnx.node("Softmax", onnx.bottoms[0], axis=axis)]
