"""Bias, MVN, Parameter, Reduction."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import (
    Account,
    Arity,
    BlobDef,
    Layer,
    LayerSpec,
    Shape,
    constant,
    exactly,
    four_axes_at_most,
    register,
)
from caffe_compat.layers.facts import Coordinates, Reads
from caffe_compat.schema import caffe_pb2 as pb


class BiasModule(nn.Module):
    """x + bias, broadcast from `axis` on; the bias may come as a second bottom."""

    bias: nn.Parameter | None

    def __init__(self, shape: Shape, axis: int, learned: bool) -> None:
        super().__init__()
        self.axis = axis
        self.register_parameter("bias", nn.Parameter(torch.empty(shape)) if learned else None)

    def forward(self, x: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        """Add the learned bias, or `bias`."""
        bias = self.bias if bias is None else bias
        assert bias is not None, "a Bias layer has a blob or a second bottom"
        return x + bias.reshape(*bias.shape, *[1] * (x.dim() - self.axis - bias.dim()))


@register
class Bias(Layer):
    """Add a learned or given blob along some axes."""

    type = "Bias"
    summary = "adds a bias along axes, learned or from a second bottom"
    is_affine = True
    coordinates = Coordinates.SAME
    bottoms = Arity(1, 2)
    accounts = {"bias_param": Account(read=("axis", "num_axes", "filler"))}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        axes, shape, axis = spec.param.bias_param.num_axes, self._shape(spec), self._axis(spec)
        if len(spec.bottoms) == 1 and (axes < -1 or axis + axes > len(spec.bottoms[0])):
            yield spec.error(
                f"extends past the bottom {spec.bottoms[0]}",
                "bias_param.num_axes",
                axes,
                "-1 for all",
                code="out-of-range",
            )
        elif spec.bottoms[0][axis : axis + len(shape)] != shape:
            yield spec.error(
                f"does not match the bottom {spec.bottoms[0]} from axis {axis} on",
                "bottom",
                shape,
                code="shape-mismatch",
            )

    def blobs(self, spec: LayerSpec) -> tuple[BlobDef, ...]:
        if len(spec.bottoms) == 2:
            return ()
        return (BlobDef("bias", self._shape(spec), spec.param.bias_param.filler),)

    def module(self, spec: LayerSpec) -> nn.Module:
        return BiasModule(self._shape(spec), self._axis(spec), len(spec.bottoms) == 1)

    def _axis(self, spec: LayerSpec) -> int:
        if len(spec.bottoms) == 2 and not spec.bottoms[1]:
            return 0
        return spec.axis(spec.param.bias_param.axis, "bias_param.axis")

    def _shape(self, spec: LayerSpec) -> Shape:
        if len(spec.bottoms) == 2:
            return spec.bottoms[1]
        start, axes = self._axis(spec), spec.param.bias_param.num_axes
        return spec.bottoms[0][start:] if axes == -1 else spec.bottoms[0][start : start + axes]


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
        yield from four_axes_at_most(spec)

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        return ((*spec.bottoms[0], *[1] * (4 - len(spec.bottoms[0]))),)

    def module(self, spec: LayerSpec) -> nn.Module:
        message = spec.param.mvn_param
        return MVNModule(1 if message.across_channels else 2, message.eps if message.normalize_variance else None)


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

    def stale_reason(self, param: pb.LayerParameter) -> str:
        return "the learned values themselves are overwritten in every pass"


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
