"""Losses of pairs of blobs: ContrastiveLoss, EuclideanLoss, SigmoidCrossEntropyLoss."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import ENGINE, Account, Layer, LayerSpec, Shape, count, exactly, register
from caffe_compat.layers.labels import precise
from caffe_compat.schema import caffe_pb2 as pb

UNREAD = dict.fromkeys(("ignore_label", "normalization", "normalize"), "Caffe does not read it here")
"""The fields of loss_param that most losses leave unread."""
UNREAD_BY_FORK = dict.fromkeys(UNREAD, "the fork does not read it here")


class Loss(Layer):
    """Base of the losses: of two bottoms, with a scalar top and perhaps one like the first bottom."""

    is_loss = True
    inference = False
    bottoms = exactly(2)

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        return ((), spec.bottoms[0])[: len(spec.param.top)]


def ignored_label(message: pb.LossParameter | pb.AccuracyParameter) -> int | None:
    """Return the label to leave out, or None."""
    return message.ignore_label if message.HasField("ignore_label") else None


def normalization_of(message: pb.LossParameter, default: str = "VALID") -> str:
    """Return the name of a NormalizationMode, which `normalize` chooses in older definitions."""
    if message.HasField("normalization"):
        return pb.LossParameter.NormalizationMode.Name(message.normalization)
    if message.HasField("normalize"):
        return "VALID" if message.normalize else "BATCH_SIZE"
    return default


class EuclideanLossModule(nn.Module):
    """Sum of squared differences over twice the batch size."""

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return the scalar loss of (N, ...) and (N, ...)."""
        difference = precise(a).flatten() - precise(b).flatten()
        return difference.dot(difference) / (2 * a.shape[0])


@register
class EuclideanLoss(Loss):
    """1/(2N) sum (a - b)^2."""

    type = "EuclideanLoss"
    summary = "1/(2N) sum of squared differences"
    accounts = {"loss_param": Account(ignored=UNREAD)}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        yield from spec.ranks(0, 4)
        a, b = spec.bottoms
        if not a or not b or a[0] != b[0] or count(a) != count(b):
            yield spec.misfit("the bottoms must have the same batch size and number of values", f"{a} and {b}")

    def module(self, spec: LayerSpec) -> nn.Module:
        return EuclideanLossModule()


class ContrastiveLossModule(nn.Module):
    """Similar pairs pull, dissimilar ones push while nearer than the margin.

    Caffe's gradient of a dissimilar pair divides by the distance + 1e-4, where the true one divides by the distance: it
    is Caffe's here, finite where two samples coincide.
    """

    def __init__(self, margin: float, legacy: bool) -> None:
        super().__init__()
        self.margin, self.legacy = margin, legacy

    def forward(self, a: torch.Tensor, b: torch.Tensor, similar: torch.Tensor) -> torch.Tensor:
        """Return the scalar loss of (N, C), (N, C) and N labels (0: dissimilar)."""
        square = (precise(a) - precise(b)).flatten(1).square().sum(1)
        if self.legacy:
            apart = (self.margin - square).clamp(min=0)
            apart = torch.where(square < self.margin, apart, apart.detach())
        else:
            root = square.detach().sqrt()
            distance = root + (square - square.detach()) / (2 * (root + 1e-4))
            apart = torch.where(root < self.margin, self.margin - distance, 0).square()
        return torch.where(similar.flatten().trunc() != 0, square, apart).sum() / (2 * a.shape[0])


@register
class ContrastiveLoss(Loss):
    """Distances of pairs, as Hadsell et al. (2006) have it."""

    type = "ContrastiveLoss"
    summary = "contrastive loss of pairs; margin, legacy_version"
    unforced = 2
    bottoms = exactly(3)
    accounts = {
        "contrastive_loss_param": Account(read=("margin", "legacy_version")),
        "loss_param": Account(ignored=UNREAD),
    }

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        a, b, similar = spec.bottoms
        if len(a) < 2 or a[:2] != b[:2] or count(a[2:]) != 1 or count(b[2:]) != 1:
            yield spec.misfit("needs two blobs of the same shape (N, C) or (N, C, 1, 1)", f"{a} and {b}")
        elif count(similar) != a[0]:
            yield spec.misfit("needs one label per pair", similar, f"({a[0]}, 1)")

    def module(self, spec: LayerSpec) -> nn.Module:
        message = spec.param.contrastive_loss_param
        return ContrastiveLossModule(message.margin, message.legacy_version)


class NormalizedLossModule(nn.Module):
    """Base of the losses that leave out a label and divide by a number that loss_param chooses."""

    def __init__(self, ignore: int | None, normalization: str) -> None:
        super().__init__()
        self.ignore, self.normalization = ignore, normalization

    def normalizer(self, keep: torch.Tensor) -> float | torch.Tensor:
        """Return the divisor of the loss, given which of its terms count."""
        if self.normalization == "VALID":
            return keep.sum().clamp(min=1)
        return max(1, {"FULL": keep.numel(), "BATCH_SIZE": keep.shape[0], "NONE": 1}[self.normalization])


class SigmoidCrossEntropyLossModule(NormalizedLossModule):
    """Cross entropy of the logistic function, each value for itself; the targets have no gradient."""

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the scalar loss of scores and targets of one count."""
        expected = precise(target).detach().reshape(x.shape)
        keep = torch.ones_like(expected, dtype=torch.bool) if self.ignore is None else expected.trunc() != self.ignore
        loss = F.binary_cross_entropy_with_logits(precise(x), expected, reduction="none")
        return torch.where(keep, loss, 0).sum() / self.normalizer(keep)


@register
class SigmoidCrossEntropyLoss(Loss):
    """Logistic cross entropy; over the batch size by default."""

    type = "SigmoidCrossEntropyLoss"
    summary = "logistic cross entropy; ignore_label, normalization"
    no_gradient = (1,)
    unforced = 1
    unsuited_scores = {
        "Sigmoid": "the loss applies a sigmoid itself: the gradient of two is weak and biased",
        "ReLU": "scores below 0 are lost: no probability can fall below one half",
    }
    accounts = {
        "loss_param": Account(read=("ignore_label", "normalization", "normalize")),
        "sigmoid_param": Account(ignored=ENGINE),
    }

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        x, target = spec.bottoms
        if not x or not target or x[0] != target[0] or count(x) != count(target):
            yield spec.misfit("needs one target per score", f"{x} and {target}", "the same batch and count")

    def module(self, spec: LayerSpec) -> nn.Module:
        message = spec.param.loss_param
        return SigmoidCrossEntropyLossModule(ignored_label(message), normalization_of(message, "BATCH_SIZE"))
