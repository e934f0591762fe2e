"""Layers of nets for small devices: depthwise convolution under two names, ReLU6, ShuffleNet's ShuffleChannel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.formats.extras import copied
from caffe_compat.layers.base import Account, BlobDef, Layer, LayerSpec, Shape, exactly, register
from caffe_compat.layers.convolution import Convolution
from caffe_compat.layers.facts import Evidence, OnnxWriter, Reads
from caffe_compat.layers.functions import Convolve

_FIELD = "convolution_param"


@register
class DepthwiseConvolution(Convolution):
    """A Convolution each of whose filters sees one channel."""

    type = "DepthwiseConvolution"
    forks = ("depthwise",)
    summary = "convolution with one channel in each group"
    origin = "caffe/src/caffe/layers/depthwise_conv_layer.cpp"
    evidence = Evidence.RECORDED

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        message, channels = spec.param.convolution_param, spec.bottoms[0][1] if len(spec.bottoms[0]) == 4 else 0
        if not channels or not message.group == message.num_output == channels:
            problem = "group and num_output must be the number of channels, or the fork's CPU and GPU code differ"
            yield spec.fault(problem, f"{_FIELD}.group", f"{channels}", code="unsupported")
        elif any(d != 1 for d in message.dilation):
            problem = "must be 1: the fork's GPU code does not read it"
            yield spec.fault(problem, f"{_FIELD}.dilation", code="unsupported")
        else:
            yield from super().check(spec)


_CONVOLUTION = Convolution.accounts[_FIELD]


@register
class ConvolutionDepthwise(Convolution):
    """A convolution over each channel alone; with as many outputs as channels."""

    type = "ConvolutionDepthwise"
    forks = ("mobilenet",)
    summary = "depthwise convolution"
    origin = "src/caffe/layers/conv_dw_layer.cpp"
    evidence = Evidence.TRANSCRIPTION
    bottoms = exactly(1)
    tops = exactly(1)
    accounts = {
        _FIELD: Account(
            read=tuple(f for f in _CONVOLUTION.read if f not in ("num_output", "group", "axis")),
            ignored={
                **_CONVOLUTION.ignored,
                "num_output": "there is one output for each channel; another number is refused",
                "group": "there is one group for each channel",
                "axis": "the channels are at axis 1; another axis is refused",
            },
        )
    }

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        message, shape = spec.param.convolution_param, spec.bottoms[0]
        if len(shape) != 4:
            yield spec.misfit("the bottom must have 4 axes", shape)
        elif message.num_output not in (0, shape[1]):
            problem = f"must be 0 or the number of channels ({shape[1]})"
            yield spec.fault(problem, f"{_FIELD}.num_output", code="unsupported")
        elif message.axis not in (1, -3):
            yield spec.fault("must be 1: the fork always takes axis 1", f"{_FIELD}.axis", code="unsupported")
        else:
            yield from super().check(_grouped(spec))

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        return super().top_shapes(_grouped(spec))

    def blobs(self, spec: LayerSpec) -> tuple[BlobDef, ...]:
        return super().blobs(_grouped(spec))

    def module(self, spec: LayerSpec) -> nn.Module:
        return super().module(_grouped(spec))

    def function(self, spec: LayerSpec) -> Convolve | None:
        return super().function(_grouped(spec))

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        return super().onnx(_grouped(spec), onnx)


def _grouped(spec: LayerSpec) -> LayerSpec:
    """Return the layer as a Convolution would be written."""
    param = copied(spec.param)
    param.convolution_param.group = param.convolution_param.num_output = spec.bottoms[0][1]
    return replace(spec, param=param)


@register
class ReLU6(Layer):
    """x between 0 and 6."""

    type = "ReLU6"
    forks = ("mobilenet", "yolov3")
    summary = "rectified linear, at most 6"
    origin = "src/caffe/layers/relu6_layer.cpp"
    evidence = Evidence.TRANSCRIPTION
    reads = Reads.BOTTOM
    accounts = {
        "relu6_param": Account(rejected={"negative_slope": "some of the forks read it and some do not; leave it out"})
    }

    def module(self, spec: LayerSpec) -> nn.Module:
        return nn.ReLU6()

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        return [onnx.node("Clip", onnx.bottoms[0], 0.0, 6.0)]


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
    evidence = Evidence.RECORDED
    keeps_values = True
    accounts = {"shuffle_channel_param": Account(read=("group",))}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        group, shape = spec.message("shuffle_channel_param").group, spec.bottoms[0]
        if len(shape) != 4 or group < 1 or shape[1] % group:
            problem = f"must divide the number of channels of a bottom with 4 axes, got {shape}"
            yield spec.fault(problem, "shuffle_channel_param.group", code="shape-mismatch")

    def module(self, spec: LayerSpec) -> nn.Module:
        return ShuffleChannelModule(spec.message("shuffle_channel_param").group)

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        group = spec.message("shuffle_channel_param").group
        groups = onnx.node("Reshape", onnx.bottoms[0], [0, group, spec.bottoms[0][1] // group, -1])
        return [onnx.as_top(onnx.node("Transpose", groups, perm=[0, 2, 1, 3]))]
