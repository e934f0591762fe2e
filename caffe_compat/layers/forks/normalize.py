"""Normalize, of SSD and of happynear, and Permute."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import Account, Arity, BlobDef, Layer, LayerSpec, Shape, constant, register
from caffe_compat.layers.facts import Evidence, OnnxWriter, Reads

_HAPPYNEAR_EPS = 1e-6


class NormalizeModule(nn.Module):
    """scale x / sqrt(sum x^2 + eps), the sum over the channels or over everything.

    Where each channel has a scale of its own, the gradient is the fork's, not the true one: the fork multiplies by the
    scale after going back through the division, not before.
    """

    weight: torch.Tensor

    def __init__(self, axes: Shape, eps: float, shape: Shape) -> None:
        super().__init__()
        self.axes, self.eps, self.shape = axes, eps, shape
        self.weight = nn.Parameter(torch.empty(shape))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise (N, C, ...)."""
        if not self.weight.dim():
            return self._divided(x) * self.weight
        scale = self.weight.view(-1, *[1] * (x.dim() - 2))
        if not torch.is_grad_enabled():
            return self._divided(x) * scale
        fixed = scale.detach()
        early = x.detach() + (x * fixed - (x * fixed).detach())  # the value of x, the gradient times the scale
        unit = self._divided(early)
        return unit.detach() * scale + (unit - unit.detach())  # no second time here

    def _divided(self, x: torch.Tensor) -> torch.Tensor:
        return x / (x.square().sum(self.axes, keepdim=True) + self.eps).sqrt()


@register
class Normalize(Layer):
    """Scale by the inverse Euclidean norm, then by a learned scale."""

    type = "Normalize"
    forks = ("ssd",)
    summary = "Euclidean norm over channels or everything, learned scale"
    origin = "src/caffe/layers/normalize_layer.cpp"
    evidence = Evidence.RECORDED
    reads = Reads.BOTTOM | Reads.TOP
    accounts = {"norm_param": Account(read=("across_spatial", "scale_filler", "channel_shared", "eps"))}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        yield from spec.ranks(2, 4)

    def blobs(self, spec: LayerSpec) -> tuple[BlobDef, ...]:
        message = spec.message("norm_param")
        filler = message.scale_filler if message.HasField("scale_filler") else constant(1)
        return (BlobDef("weight", () if message.channel_shared else (spec.bottoms[0][1],), filler),)

    def module(self, spec: LayerSpec) -> nn.Module:
        message, rank = spec.message("norm_param"), len(spec.bottoms[0])
        axes = tuple(range(1, rank)) if message.across_spatial else (1,)
        return NormalizeModule(axes, message.eps, self.blobs(spec)[0].shape)

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        (x,), (scale,), rank = onnx.bottoms, onnx.blobs, len(spec.bottoms[0])
        message = spec.message("norm_param")
        axes = list(range(1, rank)) if message.across_spatial else [1]
        energy = onnx.node("Add", onnx.node("ReduceSumSquare", x, axes=axes), message.eps)
        unit = onnx.node("Div", x, onnx.node("Sqrt", energy))
        return [onnx.node("Mul", unit, scale.reshape(-1, *[1] * (rank - 2)))]


class UnitModule(nn.Module):
    """Each position's channels over their norm; the norm as a second result where it is a top."""

    def __init__(self, absolute: bool, norm: bool, learned: bool) -> None:
        super().__init__()
        self.absolute, self.norm, self.learned = absolute, norm, learned

    def forward(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Normalise (N, C, ...)."""
        parts = x.abs() if self.absolute else x.square()
        norm = parts.sum(1, keepdim=True) + _HAPPYNEAR_EPS
        norm = norm if self.absolute else norm.sqrt()
        top = (x / norm).reshape(*x.shape, *[1] * (4 - x.dim()))
        if not self.norm:
            return top
        norm = norm.reshape(*norm.shape, *[1] * (4 - x.dim()))
        return top, norm if self.learned else norm.detach()


@register
class HappynearNormalize(Layer):
    """Scale by the inverse of the channels' norm at each position."""

    type = "Normalize"
    forks = ("happynear",)
    summary = "L1 or L2 norm over channels; second top: the norm"
    origin = "src/caffe/layers/normalize_layer.cpp"
    evidence = Evidence.TRANSCRIPTION
    tops = Arity(1, 2)
    accounts = {
        "normalize_param": Account(
            read=("normalize_type", "bp_norm"), ignored={"fix_gradient": "the fork stores it and does nothing with it"}
        )
    }

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        yield from spec.ranks(2, 4)
        kind = spec.message("normalize_param").normalize_type
        if kind not in ("L1", "L2"):
            yield spec.error("unknown norm", "normalize_param.normalize_type", kind, "L1 or L2", code="name-unknown")

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        shape = (*spec.bottoms[0], 1, 1)[:4]
        return (shape, (shape[0], 1, *shape[2:]))[: len(spec.param.top)]

    def module(self, spec: LayerSpec) -> nn.Module:
        message = spec.message("normalize_param")
        return UnitModule(message.normalize_type == "L1", len(spec.param.top) > 1, message.bp_norm)

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        absolute, (x,) = spec.message("normalize_param").normalize_type == "L1", onnx.bottoms
        norm = onnx.node("ReduceL1" if absolute else "ReduceSumSquare", x, axes=[1])
        norm = onnx.node("Add", norm, _HAPPYNEAR_EPS)
        norm = norm if absolute else onnx.node("Sqrt", norm)
        tops = [onnx.node("Div", x, norm), norm][: len(spec.param.top)]
        return tops if len(spec.bottoms[0]) == 4 else [onnx.as_top(top, i) for i, top in enumerate(tops)]


class PermuteModule(nn.Module):
    """Axes in another order."""

    def __init__(self, order: Shape) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return `x` with its axes in the order given."""
        return x.permute(self.order).contiguous()


@register
class Permute(Layer):
    """Axes in another order; those not named follow."""

    type = "Permute"
    forks = ("ssd", "happynear")
    summary = "reorders axes"
    origin = "src/caffe/layers/permute_layer.cpp"
    evidence = Evidence.RECORDED
    keeps_values = True
    accounts = {"permute_param": Account(read=("order",))}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        yield from spec.only_apart()
        order, rank = list(spec.message("permute_param").order), len(spec.bottoms[0])
        if len(set(order)) < len(order) or any(axis >= rank for axis in order):
            problem = f"must name each of the {rank} axes at most once"
            yield spec.fault(problem, "permute_param.order", f"0 to {rank - 1}")

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        return (tuple(spec.bottoms[0][axis] for axis in self._order(spec)),)

    def module(self, spec: LayerSpec) -> nn.Module:
        return PermuteModule(self._order(spec))

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        return [onnx.node("Transpose", onnx.bottoms[0], perm=self._order(spec))]

    def _order(self, spec: LayerSpec) -> Shape:
        order = list(spec.message("permute_param").order)
        return (*order, *(axis for axis in range(len(spec.bottoms[0])) if axis not in order))
