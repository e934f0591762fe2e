"""What Caffe's passes do to blobs beside computing tops and gradients, where it can be seen.

Seen in the layers of BVLC Caffe 9b89154, and in runs of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from caffe_compat.layers import LayerSpec
from caffe_compat.pycaffe.blob import Blob
from caffe_compat.schema import caffe_pb2 as pb

READS_TOP = frozenset({"Sigmoid", "Softmax", "TanH"})
_READS_BOTH = frozenset({"ELU", "Exp", "Power"})
READS_BOTTOM = frozenset({"BNLL", "Clip", "ReLU"})
"""Types whose gradient Caffe takes from what the top's, or the bottom's, memory holds when the net goes back: layers in
place may have been there since."""


def leave_margins(bottoms: Sequence[Blob], where: torch.device) -> None:
    """Leave in the scores' gradient what HingeLoss computes there while going forward."""
    margins = bottoms[0].gradients(where)
    margins.copy_(bottoms[0].values(where))
    rows = margins.view(margins.shape[0], -1)
    index = bottoms[1].values(where).reshape(-1, 1).long()
    rows.scatter_(1, index, -rows.gather(1, index))
    rows.add_(1).clamp_(min=0)


def hinge_gradient(spec: LayerSpec, bottoms: Sequence[Blob], top: Blob, where: torch.device) -> torch.Tensor:
    """Return what HingeLoss makes of the margins: of what the scores' gradient holds, be it that of a pass before."""
    margins = bottoms[0].gradients(where)
    rows = margins.view(margins.shape[0], -1)
    index = bottoms[1].values(where).reshape(-1, 1).long()
    signed = rows.scatter(1, index, -rows.gather(1, index)).view_as(margins)
    weight = top.gradients(where).reshape(()) / margins.shape[0]
    return (
        signed * (2 * weight)
        if spec.param.hinge_loss_param.norm == pb.HingeLossParameter.L2
        else signed.sign() * weight
    )


def without_odd_values(value: torch.Tensor) -> torch.Tensor:
    """Return what a MAX pooling of Caffe's sees: it begins with -FLT_MAX, and neither NaN nor -inf is larger."""
    least = torch.finfo(value.dtype).min
    return value.nan_to_num(nan=least, posinf=math.inf, neginf=least)


def leave_product(spec: LayerSpec, bottoms: Sequence[Blob], top: Blob, where: torch.device) -> None:
    """Leave in the bottom's gradient, which nobody wants, the product that Scale makes there on the way to its own."""
    outer, _, inner = _scale_parts(spec)
    if outer * inner != 1:
        bottoms[0].gradients(where).copy_(top.gradients(where) * bottoms[0].values(where))


def own_gradients(
    spec: LayerSpec, bottoms: Sequence[Blob], top: Blob, output: torch.Tensor, where: torch.device
) -> list[torch.Tensor] | None:
    """Return the bottoms' gradients where Caffe's are not the function's, else None.

    `output` is what went into the top: a layer in place may have been there since, and Caffe reads the memory.
    In place, Power and Log make their factor in the memory that holds the top's gradient, which so multiplies itself,
    and they and ELU find the top's values where the bottom's were. Eltwise without stable_prod_grad divides.
    """
    kind, value, grad = spec.param.type, top.values(where), top.gradients(where)
    product = spec.param.eltwise_param
    if kind == "Eltwise" and product.operation == pb.EltwiseParameter.PROD and not product.stable_prod_grad:
        return [value / bottom.values(where) * grad for bottom in bottoms]
    in_place, x = bottoms[0] is top, bottoms[0].values(where)
    if in_place and kind in ("Log", "Power"):
        factor = _log_factor(spec.param.log_param, x) if kind == "Log" else _power_factor(spec.param, x, value)
        return [factor * factor]
    if kind not in _READS_BOTH or not (in_place or not torch.equal(output.detach(), value)):
        return None
    if kind == "ELU":
        return [grad * torch.where(x > 0, 1, spec.param.elu_param.alpha + value)]
    if kind == "Exp":
        message = spec.param.exp_param
        return [grad * value * (message.scale * (1 if message.base == -1 else math.log(message.base)))]
    return [grad * _power_factor(spec.param, x, value)]


def _log_factor(message: pb.LogParameter, value: torch.Tensor) -> torch.Tensor:
    base = 1 if message.base == -1 else math.log(message.base)
    return (message.scale / base) / (value * message.scale + message.shift)


def _power_factor(param: pb.LayerParameter, x: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    message = param.power_param
    power, scale, shift = message.power, message.scale, message.shift
    if power * scale == 0 or power == 1:
        return torch.full_like(value, power * scale)
    if power == 2:
        return power * scale * (scale * x + shift)
    if shift == 0:
        return power * (value / x)
    return power * scale * (value / (scale * x + shift))


def overwrites(spec: LayerSpec, index: int) -> bool:
    """Tell whether Caffe writes a parameter's gradient over the last one's instead of adding to it.

    It does for Scale's factors, whose sums go straight into the diff if they are as many as the bottom's values, or if
    nothing lies before their axes and something behind them (a batch of one).
    """
    if spec.param.type != "Scale" or len(spec.bottoms) != 1 or index != 0:
        return False
    outer, scale, inner = _scale_parts(spec)
    return outer == inner == 1 or (outer == 1 and scale > 1 and inner > 1)


def _scale_parts(spec: LayerSpec) -> tuple[int, int, int]:
    """Return how many values lie before a Scale's axes, on them and behind them."""
    shape, message = spec.bottoms[0], spec.param.scale_param
    axes = message.num_axes if len(spec.bottoms) == 1 else len(spec.bottoms[1])
    axis = spec.axis(message.axis, "scale_param.axis") if shape else 0
    end = len(shape) if axes == -1 else axis + axes
    return math.prod(shape[:axis]), math.prod(shape[axis:end]), math.prod(shape[end:])
