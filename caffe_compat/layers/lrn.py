"""LRN, local response normalisation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import ENGINE, Account, Layer, LayerSpec, register
from caffe_compat.layers.facts import Coordinates, Memories, OnnxWriter, Reads
from caffe_compat.schema import caffe_pb2 as pb


class WithinChannel(nn.Module):
    """x (1 + alpha mean(x^2 over a size x size window))^-beta; the window counts its zero padding."""

    def __init__(self, size: int, alpha: float, beta: float) -> None:
        super().__init__()
        self.size, self.alpha, self.beta = size, alpha, beta

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise (N, C, H, W)."""
        mean = F.avg_pool2d(x.square(), self.size, 1, self.size // 2)
        return x * (1 + self.alpha * mean).pow(-self.beta)


@register
class LRN(Layer):
    """Divide by the local energy, across channels or within a channel."""

    type = "LRN"
    summary = "across channels or within a channel"
    reads = Reads.BOTTOM | Reads.TOP
    rereads_in_place = True
    in_place_fault = "its backward pass reads the values it has overwritten"
    coordinates = Coordinates.SAME
    accounts = {"lrn_param": Account(read=("local_size", "alpha", "beta", "norm_region", "k"), ignored=ENGINE)}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        if spec.param.lrn_param.local_size % 2 == 0:
            yield spec.fault("must be odd", "lrn_param.local_size", code="invalid")
        yield from spec.ranks(4, 4)

    def module(self, spec: LayerSpec) -> nn.Module:
        message = spec.param.lrn_param
        if message.norm_region == pb.LRNParameter.WITHIN_CHANNEL:  # Caffe does not read k here
            return WithinChannel(message.local_size, message.alpha, message.beta)
        return nn.LocalResponseNorm(message.local_size, message.alpha, message.beta, message.k)

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        message, (x,) = spec.param.lrn_param, onnx.bottoms
        size, alpha, beta = message.local_size, message.alpha, message.beta
        if message.norm_region == pb.LRNParameter.ACROSS_CHANNELS:
            return [onnx.node("LRN", x, size=size, alpha=alpha, beta=beta, bias=message.k)]
        square = onnx.node("Mul", x, x)
        mean = onnx.node("AveragePool", square, kernel_shape=[size] * 2, pads=[size // 2] * 4, count_include_pad=1)
        energy = onnx.node("Add", onnx.node("Mul", mean, alpha), 1.0)
        return [onnx.node("Mul", x, onnx.node("Pow", energy, -beta))]

    def writes_unasked(self, param: pb.LayerParameter) -> bool:
        return param.lrn_param.norm_region == pb.LRNParameter.ACROSS_CHANNELS

    def after_forward(self, spec: LayerSpec, memory: Memories) -> None:
        """Leave the square of the factor in place: Caffe writes it into the memory of the values to be multiplied."""
        if memory.in_place and self.writes_unasked(spec.param):
            factor = _scale(spec, memory.inputs[0]).pow(-spec.param.lrn_param.beta)
            memory.tops[0].values(memory.where).copy_(factor.square())

    def caffe_gradients(self, spec: LayerSpec, memory: Memories) -> list[torch.Tensor] | None:
        """Return the gradient at the values in memory; in place the factor's square replaces that from above."""
        message, (bottom,), (top,), where = spec.param.lrn_param, memory.bottoms, memory.tops, memory.where
        if not memory.is_changed or not self.writes_unasked(spec.param):
            return None
        scale = _scale(spec, memory.inputs[0])
        factor = scale.pow(-message.beta)
        grad = factor if memory.in_place else top.gradients(where)
        direct = grad * factor
        if memory.in_place:
            grad = direct
        ratio = _mean_of_channels(grad * top.values(where) / scale, message.local_size)
        return [direct - 2 * message.alpha * message.beta * bottom.values(where) * ratio]


def _scale(spec: LayerSpec, x: torch.Tensor) -> torch.Tensor:
    """Return the local energy across channels, (N, C, H, W)."""
    message = spec.param.lrn_param
    return message.k + message.alpha * _mean_of_channels(x.square(), message.local_size)


def _mean_of_channels(x: torch.Tensor, size: int) -> torch.Tensor:
    """Return the mean over `size` channels around each, zeros beyond the first and the last."""
    padded = F.pad(x.unsqueeze(1), (0, 0, 0, 0, size // 2, size // 2))
    return F.avg_pool3d(padded, (size, 1, 1), 1).squeeze(1)
