"""ShuffleChannel of ShuffleNet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import Account, Layer, LayerSpec, register
from caffe_compat.layers.facts import OnnxWriter, Witness


class ShuffleChannelModule(nn.Module):
    """Channels taken in turn from each group."""

    def __init__(self, group: int) -> None:
        super().__init__()
        self.group = group

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (N, C, ...) with its channels in the new order."""
        n, channels = x.shape[:2]
        return x.reshape(n, self.group, channels // self.group, -1).transpose(1, 2).reshape(x.shape)


@register
class ShuffleChannel(Layer):
    """The first channel of each group, then the second of each, and so on."""

    type = "ShuffleChannel"
    forks = ("shufflenet",)
    summary = "interleaves the channels of groups"
    origin = "shuffle_channel_layer.cpp"
    witness = Witness.RECORDED
    keeps_values = True
    accounts = {"shuffle_channel_param": Account(read=("group",))}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        group, shape = spec.message("shuffle_channel_param").group, spec.bottoms[0]
        if len(shape) != 4 or group < 1 or shape[1] % group:
            problem = f"must divide the number of channels of a bottom with 4 axes, got {shape}"
            yield spec.error(problem, "shuffle_channel_param.group", group, code="shape-mismatch")

    def module(self, spec: LayerSpec) -> nn.Module:
        return ShuffleChannelModule(spec.message("shuffle_channel_param").group)

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        group = spec.message("shuffle_channel_param").group
        groups = onnx.node("Reshape", onnx.bottoms[0], [0, group, spec.bottoms[0][1] // group, -1])
        return [onnx.as_top(onnx.node("Transpose", groups, perm=[0, 2, 1, 3]))]
