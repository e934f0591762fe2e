"""BN of PSPNet, yjxiong/caffe and caffe-windows: normalisation, slope and bias in one layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import ENGINE, Account, BlobDef, Layer, LayerSpec, constant, register
from caffe_compat.layers.facts import Evidence, OnnxWriter


class BNModule(nn.Module):
    """slope (x - mean) / sqrt(variance + eps) + bias; moving statistics in TEST and where frozen.

    A frozen layer passes its gradient to the bottom only. In TEST the fork computes the gradient of a layer that is not
    frozen as in TRAIN; here it is the true gradient.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    mean: torch.Tensor
    variance: torch.Tensor

    def __init__(self, shape: tuple[int, ...], momentum: float, eps: float, frozen: bool) -> None:
        super().__init__()
        self.momentum, self.eps, self.frozen = momentum, eps, frozen
        for name in ("weight", "bias"):
            self.register_parameter(name, nn.Parameter(torch.empty(shape)))
        for name in ("mean", "variance"):
            self.register_buffer(name, torch.zeros(shape))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise (N, C, ...)."""
        weight, bias = self.weight.flatten(), self.bias.flatten()
        if self.frozen:
            weight, bias = weight.detach(), bias.detach()
        if self.frozen or not self.training:
            return torch.batch_norm(
                x, weight, bias, self.mean.flatten(), self.variance.flatten(), False, 0, self.eps, True
            )
        mean, variance = torch.zeros_like(self.mean).flatten(), torch.zeros_like(self.mean).flatten()
        top = torch.batch_norm(x, weight, bias, mean, variance, True, 1, self.eps, True)
        self._update(mean, variance, x.numel() // mean.numel())
        return top

    @torch.no_grad()
    def _update(self, mean: torch.Tensor, variance: torch.Tensor, samples: int) -> None:
        variance = variance * ((samples - 1) / samples)  # torch divides by samples - 1, the fork does not
        if samples == 1:
            variance = torch.zeros_like(variance)
        for moving, new in ((self.mean, mean), (self.variance, variance)):
            moving.mul_(self.momentum).add_(new.view_as(moving), alpha=1 - self.momentum)


@register
class BN(Layer):
    """Batch normalisation with slope and bias."""

    type = "BN"
    forks = ("pspnet", "yjxiong", "happynear")
    summary = "normalisation with slope and bias; frozen"
    origin = "src/caffe/layers/bn_layer.cpp"
    evidence = Evidence.RECORDED
    accounts = {"bn_param": Account(read=("slope_filler", "bias_filler", "momentum", "eps", "frozen"), ignored=ENGINE)}

    def complete(self, spec: LayerSpec) -> None:
        params = spec.param.param
        while len(params) < 4:
            params.add()
        for param in params if spec.message("bn_param").frozen else params[2:]:
            param.lr_mult = param.decay_mult = 0

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        yield from spec.ranks(2, 4)

    def blobs(self, spec: LayerSpec) -> tuple[BlobDef, ...]:
        message, channels = spec.message("bn_param"), spec.bottoms[0][1]
        shape = (1, channels, 1, 1) if spec.fork == "pspnet" else (1, channels)
        return (
            BlobDef("weight", shape, message.slope_filler),
            BlobDef("bias", shape, message.bias_filler),
            BlobDef("mean", shape, constant(), buffer=True),
            BlobDef("variance", shape, constant(float(message.frozen)), buffer=True),
        )

    def module(self, spec: LayerSpec) -> nn.Module:
        message = spec.message("bn_param")
        return BNModule(self.blobs(spec)[0].shape, message.momentum, message.eps, message.frozen)

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        parameters = (blob.reshape(-1) for blob in onnx.blobs)
        return [onnx.node("BatchNormalization", onnx.bottoms[0], *parameters, epsilon=spec.message("bn_param").eps)]
