"""SPP: spatial pyramid pooling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import Account, Layer, LayerSpec, Shape, register
from caffe_compat.layers.facts import OnnxWriter
from caffe_compat.layers.pooling import AvgPool, MaxPool, PoolingWindow, pooled
from caffe_compat.schema import caffe_pb2 as pb


def level_window(level: int, height: int, width: int) -> PoolingWindow:
    """Return the window that pools a map into 2^level bins a side (fewer where Caffe's rounding drops the last)."""
    bins = 2**level
    kernel = -(-height // bins), -(-width // bins)
    pad = (kernel[0] * bins - height + 1) // 2, (kernel[1] * bins - width + 1) // 2
    return PoolingWindow(kernel, kernel, pad, ceil=True)


class SPPModule(nn.Module):
    """Pool at each level and concatenate; the windows follow the size of the map."""

    def __init__(self, height: int, largest: bool) -> None:
        super().__init__()
        self.height, self.largest = height, largest

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (N, features) of (N, C, H, W); with one level (N, C, 1, 1)."""
        windows = [level_window(level, x.shape[2], x.shape[3]) for level in range(self.height)]
        tops = [(MaxPool(w, mask=False) if self.largest else AvgPool(w))(x) for w in windows]
        return tops[0] if self.height == 1 else torch.cat([top.flatten(1) for top in tops], 1)


@register
class SPP(Layer):
    """Pooling into 1, 2 x 2, 4 x 4 ... bins: a row of one length for maps of any size."""

    type = "SPP"
    summary = "spatial pyramid pooling, MAX or AVE"
    accounts = {
        "spp_param": Account(
            read=("pyramid_height", "pool"), ignored={"engine": "chooses among kernels that compute the same"}
        )
    }

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        message, shape = spec.param.spp_param, spec.bottoms[0]
        if message.pyramid_height < 1:
            yield spec.error(
                "must be positive", "spp_param.pyramid_height", message.pyramid_height, code="out-of-range"
            )
        if message.pool == pb.SPPParameter.STOCHASTIC:
            problem = "not supported: Caffe refuses it wherever a level needs padding"
            yield spec.error(problem, "spp_param.pool", "STOCHASTIC", code="unsupported")
        if len(shape) != 4 or min(shape[2:]) < 1:
            yield spec.error("the bottom must have 4 axes and no empty map", "bottom", shape, code="shape-mismatch")
            return
        for level in range(min(message.pyramid_height, 32)):
            at = level_window(level, *shape[2:])
            if any(p >= k for p, k in zip(at.pad, at.kernel, strict=True)):
                problem = f"a map of {shape[2:]} is too small for 2^{level} bins a side"
                yield spec.error(problem, "spp_param.pyramid_height", message.pyramid_height, code="unsupported")
                return

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        (n, channels, *size), height = spec.bottoms[0], spec.param.spp_param.pyramid_height
        if height == 1:
            return ((n, channels, 1, 1),)
        windows = [level_window(level, *size) for level in range(height)]
        return ((n, channels * sum(w.output(size[0], 0) * w.output(size[1], 1) for w in windows)),)

    def module(self, spec: LayerSpec) -> nn.Module:
        message = spec.param.spp_param
        return SPPModule(message.pyramid_height, message.pool == pb.SPPParameter.MAX)

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        message, shape = spec.param.spp_param, onnx.bottom_shapes[0]
        sizes, largest = onnx.fixed(shape[2:]), message.pool == pb.SPPParameter.MAX
        windows = [level_window(level, *sizes) for level in range(message.pyramid_height)]
        tops = [pooled(onnx, onnx.bottoms[0], at, sizes, largest=largest) for at in windows]
        return tops if len(tops) == 1 else [onnx.node("Concat", *(onnx.node("Flatten", top) for top in tops), axis=1)]
