"""Reduction: the last axes as one value."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from caffe_compat.layers.base import Account, Layer, LayerSpec, Shape, register
from caffe_compat.layers.facts import OnnxWriter
from caffe_compat.schema import caffe_pb2 as pb


class ReductionModule(nn.Module):
    """One value for all axes from `axis` on."""

    def __init__(self, axis: int, operation: str, coeff: float) -> None:
        super().__init__()
        self.axis, self.operation, self.coeff = axis, operation, coeff

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the sums or means times the coefficient."""
        rows = x.flatten(self.axis)
        if self.operation == "MEAN":
            y = rows.mean(-1)
        else:
            y = {"SUM": lambda r: r, "ASUM": torch.abs, "SUMSQ": torch.square}[self.operation](rows).sum(-1)
        return y if self.coeff == 1 else y * self.coeff


@register
class Reduction(Layer):
    """Sum, sum of magnitudes, sum of squares or mean over the last axes."""

    type = "Reduction"
    summary = "SUM, ASUM, SUMSQ, MEAN over the axes from axis on; coeff"
    accounts = {"reduction_param": Account(read=("operation", "axis", "coeff"))}

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        return (spec.bottoms[0][: spec.axis("reduction_param.axis")],)

    def module(self, spec: LayerSpec) -> nn.Module:
        message = spec.param.reduction_param
        return ReductionModule(
            spec.axis("reduction_param.axis"), pb.ReductionParameter.ReductionOp.Name(message.operation), message.coeff
        )

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        message, axes = spec.param.reduction_param, list(range(spec.axis("reduction_param.axis"), len(spec.bottoms[0])))
        operation = pb.ReductionParameter.ReductionOp.Name(message.operation)
        if operation == "SUM":
            y = onnx.node("ReduceSum", onnx.bottoms[0], axes, keepdims=0)  # the one whose axes are an input
        else:
            operator = {"ASUM": "ReduceL1", "SUMSQ": "ReduceSumSquare", "MEAN": "ReduceMean"}[operation]
            y = onnx.node(operator, onnx.bottoms[0], axes=axes, keepdims=0)
        return [y if message.coeff == 1 else onnx.node("Mul", y, message.coeff)]
