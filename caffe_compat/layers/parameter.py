"""Parameter: a learned blob as a top."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from caffe_compat.layers.base import Account, BlobDef, Layer, LayerSpec, Shape, constant, exactly, register
from caffe_compat.layers.facts import OnnxWriter
from caffe_compat.schema import caffe_pb2 as pb


class ParameterModule(nn.Module):
    """A learned blob."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape))

    def forward(self) -> torch.Tensor:
        """Return the blob."""
        return self.weight


@register
class Parameter(Layer):
    """A learned blob as a top, zeros at first.

    Over several passes (iter_size) its gradients add up as every blob's do; Caffe keeps those of the last pass.
    """

    type = "Parameter"
    summary = "a learned blob as a top"
    bottoms = exactly(0)
    accounts = {"parameter_param": Account(read=("shape",))}

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        return (tuple(spec.param.parameter_param.shape.dim),)

    def blobs(self, spec: LayerSpec) -> tuple[BlobDef, ...]:
        return (BlobDef("weight", self.top_shapes(spec)[0], constant()),)

    def module(self, spec: LayerSpec) -> nn.Module:
        return ParameterModule(self.top_shapes(spec)[0])

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        return [onnx.node("Identity", onnx.blobs[0])]

    def stale_reason(self, param: pb.LayerParameter) -> str:
        return "the learned values themselves are overwritten in every pass"
