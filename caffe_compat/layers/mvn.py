"""MVN: zero mean and unit variance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import Account, Layer, LayerSpec, Shape, register
from caffe_compat.layers.facts import Coordinates, Memories, OnnxWriter, Reads


class MVNModule(nn.Module):
    """(x - mean) / (deviation + eps) of each map, or of each sample.

    Caffe's gradient takes x - mean over (deviation + eps) where the true one has x - mean over the deviation: they
    differ by the factor 1 + eps / deviation in one term. Here it is Caffe's.
    """

    def __init__(self, start: int, eps: float | None) -> None:
        super().__init__()
        self.start, self.eps = start, eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise (N, C, ...); the top has four axes."""
        x = x.reshape(*x.shape, *[1] * (4 - x.dim()))
        axes = tuple(range(self.start, 4))
        y = x - x.mean(axes, keepdim=True)
        if self.eps is None:
            return y
        variance = y.square().mean(axes, keepdim=True)
        deviation = variance.detach().sqrt() + self.eps
        return y / (deviation + (variance - variance.detach()) / (2 * deviation))


@register
class MVN(Layer):
    """Zero mean and unit variance."""

    type = "MVN"
    summary = "zero mean, unit variance, per map or per sample"
    reads = Reads.BOTTOM | Reads.TOP
    in_place_fault = "its backward pass reads the values it has overwritten"
    ignores_propagate_down = True
    coordinates = Coordinates.SAME
    accounts = {"mvn_param": Account(read=("normalize_variance", "across_channels", "eps"))}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        yield from spec.ranks(0, 4)

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        return ((*spec.bottoms[0], *[1] * (4 - len(spec.bottoms[0]))),)

    def module(self, spec: LayerSpec) -> nn.Module:
        message = spec.param.mvn_param
        return MVNModule(1 if message.across_channels else 2, message.eps if message.normalize_variance else None)

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        message, (x,) = spec.param.mvn_param, onnx.bottoms
        axes = list(range(1 if message.across_channels else 2, 4))
        x = x if len(spec.bottoms[0]) == 4 else onnx.as_top(x)
        y = onnx.node("Sub", x, onnx.node("ReduceMean", x, axes=axes))
        if not message.normalize_variance:
            return [y]
        variance = onnx.node("ReduceMean", onnx.node("Mul", y, y), axes=axes)
        return [onnx.node("Div", y, onnx.node("Add", onnx.node("Sqrt", variance), message.eps))]

    def caffe_gradients(self, spec: LayerSpec, memory: Memories) -> list[torch.Tensor] | None:
        """Return the gradient at the top's values; in place its first steps overwrite the gradient from above."""
        message = spec.param.mvn_param
        if not message.normalize_variance or not memory.is_changed:
            return None
        axes = tuple(range(1 if message.across_channels else 2, 4))
        y, grad, x = memory.tops[0].values(memory.where), memory.tops[0].gradients(memory.where), memory.inputs[0]
        deviation = x.reshape(y.shape).std(axes, correction=0, keepdim=True) + message.eps
        share = y * (y * grad).mean(axes, keepdim=True)
        if memory.in_place:
            total = -2 * (share + share.sum(axes, keepdim=True))
        else:
            total = grad - share - grad.mean(axes, keepdim=True)
        return [(total / deviation).view_as(x)]
