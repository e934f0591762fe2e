"""Axpy of SENet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import Layer, LayerSpec, Shape, exactly, register
from caffe_compat.layers.facts import Evidence, OnnxWriter, Reads


class AxpyModule(nn.Module):
    """a x + y, with one `a` for each channel."""

    def forward(self, a: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return a x + y for (N, C) or (N, C, 1, 1) and two (N, C, ...)."""
        return torch.addcmul(y, a.reshape(*x.shape[:2], *[1] * (x.dim() - 2)), x)


@register
class Axpy(Layer):
    """One map scaled channel by channel, added to another."""

    type = "Axpy"
    forks = ("senet",)
    summary = "a x + y, one a for each channel"
    origin = "src/caffe/layers/axpy_layer.cpp"
    evidence = Evidence.RECORDED
    reads = Reads.BOTTOM
    bottoms = exactly(3)

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        a, x, y = spec.bottoms
        if len(x) < 2 or a[:2] != x[:2] or any(size != 1 for size in a[2:]) or x != y:
            yield spec.misfit("needs one value per channel, then two blobs of the same shape", spec.bottoms)

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        return (spec.bottoms[1],)

    def module(self, spec: LayerSpec) -> nn.Module:
        return AxpyModule()

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        a, x, y = onnx.bottoms
        given, rank = len(spec.bottoms[0]), len(spec.bottoms[1])
        if given < rank:
            a = onnx.node("Unsqueeze", a, range(given, rank))
        elif given > rank:
            a = onnx.node("Squeeze", a, range(rank, given))
        return [onnx.node("Add", onnx.node("Mul", a, x), y)]
