"""Reduction: the last axes as one value."""

from __future__ import annotations

import torch
from torch import nn

from caffe_compat.layers.base import Account, Layer, LayerSpec, Shape, register
from caffe_compat.schema import caffe_pb2 as pb


class ReductionModule(nn.Module):
    """One value for all axes from `axis` on."""

    def __init__(self, axis: int, operation: int, coeff: float) -> None:
        super().__init__()
        self.axis, self.coeff = axis, coeff
        self.operation = pb.ReductionParameter.ReductionOp.Name(operation)

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
        return (spec.bottoms[0][: self._axis(spec)],)

    def module(self, spec: LayerSpec) -> nn.Module:
        message = spec.param.reduction_param
        return ReductionModule(self._axis(spec), message.operation, message.coeff)

    def _axis(self, spec: LayerSpec) -> int:
        return spec.axis(spec.param.reduction_param.axis, "reduction_param.axis")
