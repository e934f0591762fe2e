"""EuclideanLoss and SoftmaxWithLoss."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import (
    Account,
    Arity,
    Layer,
    LayerSpec,
    Shape,
    count,
    exactly,
    four_axes_at_most,
    register,
)
from caffe_compat.layers.labels import check_labels, class_indices, outer_class_inner, precise
from caffe_compat.schema import caffe_pb2 as pb

_LOG_FLT_MIN = -87.33654475055310  # ln of the smallest normal float32: Caffe caps the loss of one sample there


class EuclideanLossModule(nn.Module):
    """Sum of squared differences over twice the batch size."""

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return the scalar loss of (N, ...) and (N, ...)."""
        difference = precise(a).flatten() - precise(b).flatten()
        return difference.dot(difference) / (2 * a.shape[0])


@register
class EuclideanLoss(Layer):
    """1/(2N) sum (a - b)^2."""

    type = "EuclideanLoss"
    summary = "1/(2N) sum of squared differences"
    bottoms = exactly(2)
    is_loss = True
    inference = False
    accounts = {
        "loss_param": Account(
            ignored=dict.fromkeys(("ignore_label", "normalization", "normalize"), "Caffe does not read it here")
        )
    }

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        yield from four_axes_at_most(spec)
        a, b = spec.bottoms
        if not a or not b or a[0] != b[0] or count(a) != count(b):
            yield spec.error(
                "the bottoms must have the same batch size and number of values",
                "bottom",
                f"{a} and {b}",
                None,
                code="shape-mismatch",
            )

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        return ((),)

    def module(self, spec: LayerSpec) -> nn.Module:
        return EuclideanLossModule()


class SoftmaxWithLossModule(nn.Module):
    """Cross entropy of the softmax, normalised as Caffe does; its probabilities pass no gradient back, as in Caffe."""

    def __init__(self, axis: int, ignore: int | None, normalization: int, probabilities: bool) -> None:
        super().__init__()
        self.axis, self.ignore, self.probabilities = axis, ignore, probabilities
        self.normalization = pb.LossParameter.NormalizationMode.Name(normalization)

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Return the scalar loss (and the probabilities) of scores and class labels."""
        scores = outer_class_inner(x, self.axis)
        logs = scores.log_softmax(1)
        index, keep = class_indices(label, scores, self.ignore)
        loss = self._weighted(self._capped(-logs.gather(1, index.unsqueeze(1)).squeeze(1)), index)
        loss = torch.where(keep, loss, 0).sum() / self._normalizer(keep)
        return (loss, logs.detach().exp().view(x.shape).to(x.dtype)) if self.probabilities else loss

    def _capped(self, loss: torch.Tensor) -> torch.Tensor:
        """Return losses up to Caffe's cap, which has no gradient of its own."""
        return loss + (loss.clamp(max=-_LOG_FLT_MIN) - loss).detach()

    def _weighted(self, loss: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """Return the loss of each prediction, given its class; for those that weigh classes."""
        return loss

    def _normalizer(self, keep: torch.Tensor) -> float | torch.Tensor:
        if self.normalization == "VALID":
            return keep.sum().clamp(min=1)
        return max(1, {"FULL": keep.numel(), "BATCH_SIZE": keep.shape[0], "NONE": 1}[self.normalization])


@register
class SoftmaxWithLoss(Layer):
    """-log softmax(x)[label], summed and normalised."""

    type = "SoftmaxWithLoss"
    summary = "softmax cross entropy; ignore_label, normalization; second top: probabilities"
    no_gradient = (1,)
    unforced = 1
    unsuited_scores = {
        "Softmax": "the loss applies a softmax itself: the gradient of two is weak and biased",
        "ReLU": "scores below 0 are lost: a class cannot be made less likely than that",
    }
    bottoms = exactly(2)
    tops = Arity(1, 2)
    is_loss = True
    inference = False
    accounts = {
        "loss_param": Account(read=("ignore_label", "normalization", "normalize")),
        "softmax_param": Account(read=("axis",), ignored={"engine": "chooses among kernels that compute the same"}),
    }

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        axis = spec.axis(spec.param.softmax_param.axis, "softmax_param.axis")
        if not spec.bottoms[1] or spec.bottoms[0][0] != spec.bottoms[1][0]:
            yield spec.error(
                "scores and labels must have the same batch size", "bottom", spec.bottoms, code="shape-mismatch"
            )
        yield from check_labels(spec, axis)

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        return ((), spec.bottoms[0])[: len(spec.param.top)]

    def module(self, spec: LayerSpec) -> nn.Module:
        message = spec.param.loss_param
        modes = pb.LossParameter
        normalization = message.normalization
        if not message.HasField("normalization") and message.HasField("normalize"):
            normalization = modes.VALID if message.normalize else modes.BATCH_SIZE
        return SoftmaxWithLossModule(
            spec.axis(spec.param.softmax_param.axis, "softmax_param.axis"),
            message.ignore_label if message.HasField("ignore_label") else None,
            normalization,
            len(spec.param.top) > 1,
        )

    def has_inner_layer(self, param: pb.LayerParameter) -> bool:
        return not self.forks
