"""Accuracy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import Account, Arity, Layer, LayerSpec, Shape, exactly, register
from caffe_compat.layers.facts import Gradient
from caffe_compat.layers.labels import check_labels, class_indices, outer_class_inner


class AccuracyModule(nn.Module):
    """Fraction of labels whose score is among the `top_k` best (a tie counts against it)."""

    def __init__(self, axis: int, top_k: int, ignore: int | None, per_class: bool) -> None:
        super().__init__()
        self.axis, self.top_k, self.ignore, self.per_class = axis, top_k, ignore, per_class

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Return the accuracy, and with `per_class` the accuracy of each class too."""
        scores = outer_class_inner(x.detach(), self.axis)
        index, keep = class_indices(label, scores, self.ignore)
        better = (scores >= scores.gather(1, index.unsqueeze(1))).sum(1) - 1
        right = (better < self.top_k) & keep
        accuracy = right.sum() / keep.sum().clamp(min=1).to(scores.dtype)
        if not self.per_class:
            return accuracy
        zeros = scores.new_zeros(scores.shape[1])
        seen = zeros.index_add(0, index.flatten(), keep.flatten().to(scores.dtype))
        hits = zeros.index_add(0, index.flatten(), right.flatten().to(scores.dtype))
        return accuracy, hits / seen.clamp(min=1)


@register
class Accuracy(Layer):
    """Classification accuracy; no gradient."""

    type = "Accuracy"
    summary = "top-k accuracy; ignore_label; second top: accuracy per class"
    gradient = Gradient.STOPS
    no_gradient = (0, 1)
    is_result = True
    bottoms = exactly(2)
    tops = Arity(1, 2)
    inference = False
    accounts = {"accuracy_param": Account(read=("top_k", "axis", "ignore_label"))}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        axis = self._axis(spec)
        top_k, classes = spec.param.accuracy_param.top_k, spec.bottoms[0][axis]
        if not 1 <= top_k <= classes:
            problem = f"the bottom has {classes} classes"
            yield spec.error(problem, "accuracy_param.top_k", top_k, f"1 to {classes}", code="out-of-range")
        yield from check_labels(spec, axis)

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        return ((), (spec.bottoms[0][self._axis(spec)],))[: len(spec.param.top)]

    def module(self, spec: LayerSpec) -> nn.Module:
        message = spec.param.accuracy_param
        ignore = message.ignore_label if message.HasField("ignore_label") else None
        return AccuracyModule(self._axis(spec), message.top_k, ignore, len(spec.param.top) > 1)

    def _axis(self, spec: LayerSpec) -> int:
        return spec.axis(spec.param.accuracy_param.axis, "accuracy_param.axis")

    def whole_number_bottoms(self, count: int) -> Sequence[int]:
        return (1,)
