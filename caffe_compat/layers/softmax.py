"""Softmax."""

from __future__ import annotations

from torch import nn

from caffe_compat.layers.base import Account, Layer, LayerSpec, register
from caffe_compat.layers.facts import Reads


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
