"""Losses that face recognition brought: center loss and the angular margin of SphereFace (A-Softmax)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import Account, BlobDef, Layer, LayerSpec, Shape, count, exactly, register
from caffe_compat.layers.facts import Evidence, Reads
from caffe_compat.layers.labels import check_row_labels, class_indices, precise
from caffe_compat.layers.losses import UNREAD, Loss


def _scores_like(samples: int, weights: torch.Tensor) -> torch.Tensor:
    """Return a tensor (samples, classes, 1) for weights (classes, length); only its shape counts."""
    return weights.detach()[None, :, :1].expand(samples, -1, -1)


class _CenterLoss(torch.autograd.Function):
    """The fork's Backward_cpu moves centers by a mean of its own, whatever the loss weight is."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, centers: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        distance = x - centers[index]
        ctx.save_for_backward(distance, index)
        ctx.classes = len(centers)
        return distance.square().sum() / len(x) / 2

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        distance, index = ctx.saved_tensors
        sums = distance.new_zeros(ctx.classes, distance.shape[1]).index_add(0, index, -distance)
        seen = torch.bincount(index, minlength=ctx.classes).to(distance.dtype)
        return distance * (gradients[0] / len(distance)), sums / (seen + 1)[:, None], None


class CenterLossModule(nn.Module):
    """Half the mean squared distance of samples from the centers of their classes."""

    def __init__(self, classes: int, length: int) -> None:
        super().__init__()
        self.centers = nn.Parameter(torch.empty(classes, length))

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Return the scalar loss of (N, ...) features and N class labels."""
        rows = precise(x).flatten(1)
        index, _ = class_indices(label, _scores_like(len(rows), self.centers), None)
        loss: torch.Tensor = _CenterLoss.apply(rows, self.centers, index.flatten())  # type: ignore[no-untyped-call]
        return loss


@register
class CenterLoss(Loss):
    """Distances from learned centers (Wen et al., 2016)."""

    type = "CenterLoss"
    forks = ("caffe-face",)
    summary = "half the mean squared distance from the center of the class"
    origin = "src/caffe/layers/center_loss_layer.cpp"
    evidence = Evidence.RECORDED
    no_gradient = (1,)
    unforced = 1
    accounts = {
        "center_loss_param": Account(
            read=("num_output", "center_filler"), ignored={"axis": "axes other than 1 are refused"}
        ),
        "loss_param": Account(ignored=UNREAD),
    }

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        yield from spec.at_least_one("center_loss_param", "num_output")
        if len(spec.bottoms[0]) < 2 or spec.axis("center_loss_param.axis") != 1:
            problem = "must be 1: the fork compares as many rows as the first axis has"
            yield spec.fault(problem, "center_loss_param.axis", code="unsupported")
        else:
            yield from check_row_labels(spec)

    def blobs(self, spec: LayerSpec) -> tuple[BlobDef, ...]:
        message = spec.message("center_loss_param")
        return (BlobDef("centers", (message.num_output, count(spec.bottoms[0][1:])), message.center_filler),)

    def module(self, spec: LayerSpec) -> nn.Module:
        return CenterLossModule(*self.blobs(spec)[0].shape)


_MARGINS = {0: 1, 1: 2, 2: 3, 3: 4}
"""MarginType -> the number m by which the angle to the own class is multiplied."""


def _margin(cosine: torch.Tensor, m: int) -> torch.Tensor:
    """Return psi(theta) = (-1)^k cos(m theta) - 2k, with k = floor(m theta / pi), from cos(theta).

    The signs are those of the fork's code, which are 0 where a cosine is: there psi differs by 1.
    """
    first, square = cosine.sign(), cosine**2
    if m == 2:
        return 2 * first * square - 1
    if m == 3:
        second = (cosine.abs() - 0.5).sign()
        return second * (4 * cosine**3 - 3 * cosine) + first * (1 + second) - 2
    third = first * (2 * square - 1).sign()
    return third * (8 * square**2 - 8 * square + 1) + 2 * first + third - 3


def _pull(cosine: torch.Tensor, norm: torch.Tensor, m: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the gradient of |x| psi(theta) along the weights and along x, as a pair that the fork gives length 1."""
    first, square = cosine.sign(), cosine**2
    if m == 2:
        along_w, along_x = 4 * first * cosine, 2 * first * square + 1
    elif m == 3:
        second = (cosine.abs() - 0.5).sign()
        along_w, along_x = second * (12 * square - 3), 8 * second * cosine**3 - (first * (1 + second) - 2)
    else:
        third = first * (2 * square - 1).sign()
        along_w = third * (32 * cosine**3 - 16 * cosine)
        along_x = third * (24 * square**2 - 8 * square - 1) - (2 * first + third - 3)
    along_x = -along_x / norm
    length = (along_w**2 + along_x**2).sqrt()
    return along_w / length, along_x / length


class _MarginInnerProduct(torch.autograd.Function):
    """The fork's forward and backward passes, whose gradients are not the true ones.

    That of the weights leaves the margin and the normalisation out; that of the own class has the length 1 before
    it is multiplied by the top's.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, index: torch.Tensor, weighing: float, m: int
    ) -> torch.Tensor:
        plain = x @ weight.T
        norm = x.square().sum(1, keepdim=True).sqrt()
        own = plain.gather(1, index[:, None])
        ctx.save_for_backward(x, weight, index, own / norm, norm)
        ctx.weighing, ctx.m = weighing, m
        if m == 1:
            return plain
        changed = plain.scatter(1, index[:, None], norm * _margin(own / norm, m))
        return (changed + weighing * plain) / (1 + weighing)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, index, cosine, norm = ctx.saved_tensors
        top, weighing = gradients[0], ctx.weighing
        whole = top @ weight
        if ctx.m > 1:
            own, among = top.gather(1, index[:, None]), weight[index]
            along_w, along_x = _pull(cosine, norm, ctx.m)
            whole = whole + own * (along_w * among + along_x * x - among) / (1 + weighing)
        return whole, top.T @ x, None, None, None


class MarginInnerProductModule(nn.Module):
    """Scores against weights of length 1, that of the own class lowered by the margin; and lambda.

    Each pass normalises the weights themselves and counts itself, in both phases, as the fork does; lambda falls with
    the count. A resumed training starts the count again.
    """

    def __init__(self, shape: Shape, m: int, start: int, fall: tuple[float, float, float, float]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape))
        self.m, self.passes, self.fall = m, start, fall

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (N, outputs) scores of (N, ...) features with N class labels, and lambda in a vector of 1."""
        self.passes += 1
        base, gamma, power, least = self.fall
        weighing = max(base * (1 + gamma * self.passes) ** -power, least)
        with torch.no_grad():
            self.weight.div_(self.weight.square().sum(1, keepdim=True).sqrt())
        rows = x.flatten(1)
        index, _ = class_indices(label, _scores_like(len(rows), self.weight), None)
        scores = _MarginInnerProduct.apply(rows, self.weight, index.flatten(), weighing, self.m)  # type: ignore[no-untyped-call]
        return scores, x.new_full((1,), weighing)


@register
class MarginInnerProduct(Layer):
    """InnerProduct with an angular margin for the own class (Liu et al., 2017)."""

    type = "MarginInnerProduct"
    forks = ("sphereface",)
    summary = "inner product with normalised weights and an angular margin; second top: lambda"
    origin = "tools/caffe-sphereface/src/caffe/layers/margin_inner_product_layer.cpp"
    evidence = Evidence.RECORDED
    reads = Reads.BOTTOM
    bottoms = exactly(2)
    tops = exactly(2)
    inference = False
    accounts = {
        "margin_inner_product_param": Account(
            read=("num_output", "type", "weight_filler", "base", "gamma", "power", "iteration", "lambda_min"),
            ignored={"axis": "axes other than 1 are refused"},
        )
    }

    def whole_number_bottoms(self, count: int) -> tuple[int, ...]:
        return (1,)

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        field = "margin_inner_product_param"
        yield from spec.at_least_one(field, "num_output")
        if len(spec.bottoms[0]) < 2 or spec.axis(f"{field}.axis") != 1:
            yield spec.fault("must be 1: a label belongs to each sample", f"{field}.axis", code="unsupported")
        else:
            yield from check_row_labels(spec)

    def blobs(self, spec: LayerSpec) -> tuple[BlobDef, ...]:
        message = spec.message("margin_inner_product_param")
        return (BlobDef("weight", (message.num_output, count(spec.bottoms[0][1:])), message.weight_filler),)

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        return (spec.bottoms[0][0], spec.message("margin_inner_product_param").num_output), (1,)

    def module(self, spec: LayerSpec) -> nn.Module:
        message = spec.message("margin_inner_product_param")
        fall = message.base, message.gamma, message.power, message.lambda_min
        shape = self.blobs(spec)[0].shape
        return MarginInnerProductModule(shape, _MARGINS[message.type], message.iteration, fall)

    def macs(self, spec: LayerSpec) -> int:
        outputs, length = self.blobs(spec)[0].shape
        return spec.bottoms[0][0] * outputs * length
