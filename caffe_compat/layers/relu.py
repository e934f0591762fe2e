"""ReLU, and PReLU, whose slope below 0 is learned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import ENGINE, Account, BlobDef, Layer, LayerSpec, Shape, constant, register
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
    accounts = {"relu_param": Account(read=("negative_slope",), ignored=ENGINE)}

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


class PReLUModule(nn.PReLU):
    """torch's PReLU, its slope a scalar where the channels share it, as Caffe stores it."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape[0] if shape else 1)
        self.shape = shape
        self.weight = nn.Parameter(self.weight.detach().reshape(shape))


def _slope(module: nn.Module) -> torch.Tensor:
    assert isinstance(module, PReLUModule)
    return module.weight.reshape(-1)


@register
class PReLU(Layer):
    """max(x, 0) + slope min(x, 0), one slope per channel or one for all."""

    type = "PReLU"
    summary = "rectified linear with learned slopes; channel_shared"
    reads = Reads.BOTTOM
    coordinates = Coordinates.SAME
    accounts = {"prelu_param": Account(read=("filler", "channel_shared"))}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        yield from spec.ranks(2, 4)

    def blobs(self, spec: LayerSpec) -> tuple[BlobDef, ...]:
        message = spec.param.prelu_param
        filler = message.filler if message.HasField("filler") else constant(0.25)
        return (BlobDef("weight", self._shape(spec), filler),)

    def function(self, spec: LayerSpec) -> Rectify | None:
        return Rectify(_slope) if len(spec.bottoms[0]) in {2, 4} else None

    def module(self, spec: LayerSpec) -> nn.Module:
        return PReLUModule(self._shape(spec))

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        slope = onnx.blobs[0].reshape(-1, *[1] * (len(spec.bottoms[0]) - 2))
        return [onnx.node("PRelu", onnx.bottoms[0], slope)]

    def _shape(self, spec: LayerSpec) -> Shape:
        return () if spec.param.prelu_param.channel_shared else (spec.bottoms[0][1],)
