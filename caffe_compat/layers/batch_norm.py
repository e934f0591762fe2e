"""BatchNorm: normalisation only; Caffe's Scale layer does the rest."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import Account, BlobDef, Layer, LayerSpec, constant, register
from caffe_compat.layers.facts import Coordinates, OnnxWriter
from caffe_compat.layers.functions import ScaleChannels
from caffe_compat.schema import caffe_pb2 as pb


class BatchNormModule(nn.Module):
    """(x - mean) / sqrt(var + eps) with Caffe's three statistics as buffers.

    ``mean`` and ``variance`` are sums weighted by the moving average, ``factor`` is the sum of the weights: the values
    that count are ``mean / factor`` and ``variance / factor`` (0 where factor is 0).
    """

    mean: torch.Tensor
    variance: torch.Tensor
    factor: torch.Tensor

    def __init__(self, channels: int, eps: float, fraction: float, use_global_stats: bool | None) -> None:
        super().__init__()
        self.channels, self.eps, self.fraction, self.use_global_stats = channels, eps, fraction, use_global_stats
        for name, size in (("mean", channels), ("variance", channels), ("factor", 1)):
            self.register_buffer(name, torch.zeros(size))

    def statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and variance of each channel."""
        scale = self.factor.reciprocal().nan_to_num(nan=math.nan, posinf=0.0, neginf=0.0)  # 0 where the factor is
        return self.mean * scale, self.variance * scale

    def forward(
        self, x: torch.Tensor, weight: torch.Tensor | None = None, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Normalise (N, C, ...); `weight` and `bias` are those of a Scale layer that follows, if any."""
        fixed = not self.training if self.use_global_stats is None else self.use_global_stats
        if fixed:
            mean, variance = self.statistics()
            return torch.batch_norm(x, weight, bias, mean, variance, False, 0, self.eps, True)
        if x.numel() == self.mean.numel():  # torch's x a - x a is not 0
            self._update(x.detach().reshape(-1), torch.zeros_like(self.variance))
            y, shape = x - x, (-1, *(1,) * (x.ndim - 2))
            y = y if weight is None else y * weight.view(shape)
            return y if bias is None else y + bias.view(shape)
        mean, variance = torch.zeros_like(self.mean), torch.zeros_like(self.variance)
        y = torch.batch_norm(x, weight, bias, mean, variance, True, 1, self.eps, True)
        self._update(mean, variance)
        return y

    @torch.no_grad()
    def _update(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        self.factor.mul_(self.fraction).add_(1)
        self.mean.mul_(self.fraction).add_(mean)
        self.variance.mul_(self.fraction).add_(variance)


def _scale_and_shift(module: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    assert isinstance(module, BatchNormModule)
    mean, variance = (values.double() for values in module.statistics())
    scale = (variance + module.eps).rsqrt()
    return scale, -mean * scale


@register
class BatchNorm(Layer):
    """Normalise each channel by its mean and variance."""

    type = "BatchNorm"
    summary = "normalisation by batch (TRAIN) or moving (TEST) statistics"
    only_statistics = True
    ignores_propagate_down = True
    coordinates = Coordinates.SAME
    free_outputs = (BatchNormModule,)
    accounts = {"batch_norm_param": Account(read=("use_global_stats", "moving_average_fraction", "eps"))}

    def setup(self, param: pb.LayerParameter) -> None:
        while len(param.param) < 3:
            param.param.add(lr_mult=0)

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        if any(p.lr_mult for p in spec.param.param):
            yield spec.error(
                "the statistics of BatchNorm cannot have a learning rate", "param.lr_mult", hint="0", code="invalid"
            )
        yield from spec.ranks(2, None)

    def blobs(self, spec: LayerSpec) -> tuple[BlobDef, ...]:
        shape = spec.bottoms[0]
        sizes = (("mean", shape[1]), ("variance", shape[1]), ("factor", 1))
        return tuple(BlobDef(name, (size,), constant(), buffer=True) for name, size in sizes)

    def function(self, spec: LayerSpec) -> ScaleChannels | None:
        message = spec.param.batch_norm_param
        by_batch = message.HasField("use_global_stats") and not message.use_global_stats
        return None if by_batch or len(spec.bottoms[0]) not in {2, 4} else ScaleChannels(_scale_and_shift)

    def module(self, spec: LayerSpec) -> nn.Module:
        message = spec.param.batch_norm_param
        given = message.use_global_stats if message.HasField("use_global_stats") else None
        channels = self.blobs(spec)[0].shape[0]
        return BatchNormModule(channels, message.eps, message.moving_average_fraction, given)

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        message, (mean, variance, factor) = spec.param.batch_norm_param, onnx.blobs
        if message.HasField("use_global_stats") and not message.use_global_stats:
            axes = [0, *range(2, len(spec.bottoms[0]))]
            moved = onnx.node("Sub", onnx.bottoms[0], onnx.node("ReduceMean", onnx.bottoms[0], axes=axes))
            square = onnx.node("ReduceMean", onnx.node("Mul", moved, moved), axes=axes)
            return [onnx.node("Div", moved, onnx.node("Sqrt", onnx.node("Add", square, message.eps)))]
        scale = 1 / factor if factor.item() else factor
        ones = np.ones_like(mean)
        moments = mean * scale, variance * scale
        return [onnx.node("BatchNormalization", onnx.bottoms[0], ones, 0 * ones, *moments, epsilon=message.eps)]
