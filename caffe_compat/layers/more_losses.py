"""ContrastiveLoss, HingeLoss, MultinomialLogisticLoss, SigmoidCrossEntropyLoss."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import Account, Layer, LayerSpec, Shape, count, exactly, four_axes_at_most, register
from caffe_compat.layers.facts import Memories
from caffe_compat.layers.labels import class_indices, precise
from caffe_compat.schema import caffe_pb2 as pb

_UNREAD = dict.fromkeys(("ignore_label", "normalization", "normalize"), "Caffe does not read it here")
_LOG_THRESHOLD = 1e-20  # probabilities are taken to be no smaller


class _Loss(Layer):
    """What the losses here share: a scalar top that training wants."""

    is_loss = True
    inference = False
    bottoms = exactly(2)

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        return ((),)


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
        return torch.where(similar.flatten().long() != 0, square, apart).sum() / (2 * a.shape[0])


@register
class ContrastiveLoss(_Loss):
    """Distances of pairs, as Hadsell et al. (2006) have it."""

    type = "ContrastiveLoss"
    summary = "contrastive loss of pairs; margin, legacy_version"
    unforced = 2
    bottoms = exactly(3)
    accounts = {
        "contrastive_loss_param": Account(read=("margin", "legacy_version")),
        "loss_param": Account(ignored=_UNREAD),
    }

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        a, b, similar = spec.bottoms
        if len(a) < 2 or a[:2] != b[:2] or count(a[2:]) != 1 or count(b[2:]) != 1:
            yield spec.error(
                "needs two blobs of the same shape (N, C) or (N, C, 1, 1)",
                "bottom",
                f"{a} and {b}",
                code="shape-mismatch",
            )
        elif count(similar) != a[0]:
            yield spec.error("needs one label per pair", "bottom", similar, f"({a[0]}, 1)", code="shape-mismatch")

    def module(self, spec: LayerSpec) -> nn.Module:
        message = spec.param.contrastive_loss_param
        return ContrastiveLossModule(message.margin, message.legacy_version)


def _rows(x: torch.Tensor) -> torch.Tensor:
    """Return scores as (N, classes, 1)."""
    return precise(x).reshape(x.shape[0], -1, 1)


def _check_row_labels(spec: LayerSpec) -> Iterator[CaffeCompatError]:
    yield from four_axes_at_most(spec)
    scores, labels = spec.bottoms
    if not scores or not labels or labels[0] != scores[0] or count(labels) != scores[0]:
        yield spec.error(
            "needs one label per sample", "bottom", f"scores {scores}, labels {labels}", code="shape-mismatch"
        )


class HingeLossModule(nn.Module):
    """One against the rest: max(0, 1 - x) for the label, max(0, 1 + x) for every other class."""

    def __init__(self, square: bool) -> None:
        super().__init__()
        self.square = square

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Return the scalar loss of (N, ...) scores and N class labels."""
        scores = _rows(x)
        index, _ = class_indices(label, scores, None)
        right = torch.zeros_like(scores, dtype=torch.bool).scatter(1, index.unsqueeze(1), True)
        margin = (1 + torch.where(right, -scores, scores)).relu()
        return (margin.square() if self.square else margin).sum() / x.shape[0]


@register
class HingeLoss(_Loss):
    """One-against-all hinge loss, L1 or L2."""

    type = "HingeLoss"
    summary = "one-vs-rest hinge loss; norm L1 or L2"
    no_gradient = (1,)
    unforced = 1
    accounts = {"hinge_loss_param": Account(read=("norm",)), "loss_param": Account(ignored=_UNREAD)}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        yield from _check_row_labels(spec)

    def module(self, spec: LayerSpec) -> nn.Module:
        return HingeLossModule(spec.param.hinge_loss_param.norm == pb.HingeLossParameter.L2)

    def after_forward(self, spec: LayerSpec, memory: Memories) -> None:
        """Leave the margins in the scores' gradient, where Caffe computes them."""
        where = memory.where
        margins = memory.bottoms[0].gradients(where)
        margins.copy_(memory.bottoms[0].values(where))
        rows = margins.view(margins.shape[0], -1)
        index = self._labels(memory)
        rows.scatter_(1, index, -rows.gather(1, index))
        rows.add_(1).clamp_(min=0)

    def caffe_gradients(self, spec: LayerSpec, memory: Memories) -> list[torch.Tensor] | None:
        """Return what becomes of the margins that the scores' gradient holds, be they those of a pass before."""
        margins = memory.bottoms[0].gradients(memory.where)
        rows = margins.view(margins.shape[0], -1)
        index = self._labels(memory)
        signed = rows.scatter(1, index, -rows.gather(1, index)).view_as(margins)
        weight = memory.tops[0].gradients(memory.where).reshape(()) / margins.shape[0]
        square = spec.param.hinge_loss_param.norm == pb.HingeLossParameter.L2
        return [signed * (2 * weight) if square else signed.sign() * weight]

    def _labels(self, memory: Memories) -> torch.Tensor:
        return memory.bottoms[1].values(memory.where).reshape(-1, 1).long()


class MultinomialLogisticLossModule(nn.Module):
    """-log of the label's probability; below 1e-20 both the value and the gradient are those of 1e-20, as in Caffe."""

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Return the scalar loss of (N, ...) probabilities and N class labels."""
        probabilities = _rows(x)
        index, _ = class_indices(label, probabilities, None)
        chosen = probabilities.gather(1, index.unsqueeze(1))
        capped = chosen.detach().clamp(min=_LOG_THRESHOLD)
        return -(capped.log() + (chosen - chosen.detach()) / capped).sum() / x.shape[0]


@register
class MultinomialLogisticLoss(_Loss):
    """Cross entropy of probabilities that are given as such."""

    type = "MultinomialLogisticLoss"
    summary = "cross entropy of given probabilities"
    no_gradient = (1,)
    unforced = 1
    accounts = {"loss_param": Account(ignored=_UNREAD)}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        yield from _check_row_labels(spec)

    def module(self, spec: LayerSpec) -> nn.Module:
        return MultinomialLogisticLossModule()


class SigmoidCrossEntropyLossModule(nn.Module):
    """Cross entropy of the logistic function, each value for itself; the targets have no gradient."""

    def __init__(self, ignore: int | None, normalization: int) -> None:
        super().__init__()
        self.ignore, self.normalization = ignore, pb.LossParameter.NormalizationMode.Name(normalization)

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the scalar loss of scores and targets of one count."""
        wanted = precise(target).detach().reshape(x.shape)
        keep = torch.ones_like(wanted, dtype=torch.bool) if self.ignore is None else wanted.long() != self.ignore
        loss = F.binary_cross_entropy_with_logits(precise(x), wanted, reduction="none")
        return torch.where(keep, loss, 0).sum() / self._normalizer(keep)

    def _normalizer(self, keep: torch.Tensor) -> float | torch.Tensor:
        if self.normalization == "VALID":
            return keep.sum().clamp(min=1)
        return max(1, {"FULL": keep.numel(), "BATCH_SIZE": keep.shape[0], "NONE": 1}[self.normalization])


@register
class SigmoidCrossEntropyLoss(_Loss):
    """Logistic cross entropy; over the batch size unless told otherwise."""

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
        "sigmoid_param": Account(ignored={"engine": "chooses among kernels that compute the same"}),
    }

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        x, target = spec.bottoms
        if not x or not target or x[0] != target[0] or count(x) != count(target):
            yield spec.error(
                "needs one target per score",
                "bottom",
                f"{x} and {target}",
                "the same batch and count",
                code="shape-mismatch",
            )

    def module(self, spec: LayerSpec) -> nn.Module:
        message, modes = spec.param.loss_param, pb.LossParameter
        normalization = modes.BATCH_SIZE
        if message.HasField("normalization"):
            normalization = message.normalization
        elif message.HasField("normalize") and message.normalize:
            normalization = modes.VALID
        ignore = message.ignore_label if message.HasField("ignore_label") else None
        return SigmoidCrossEntropyLossModule(ignore, normalization)
