"""CRNN's layers: the CTC loss, its accuracy, and the marks of where sequences begin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from caffe_compat.errors import CaffeCompatError, DataError
from caffe_compat.layers.base import Account, Layer, LayerSpec, Shape, exactly, register
from caffe_compat.layers.facts import Evidence, Gradient, OnnxWriter
from caffe_compat.layers.labels import indices, precise
from caffe_compat.layers.losses import UNREAD, Loss


class CtcLossModule(nn.Module):
    """Mean over the batch of -log p(labels), for scores before the softmax; labels equal to the blank are padding.

    The fork divides the loss by the batch size, but not its gradient. A sequence too short for its labels costs
    nothing (both as in the fork's Forward_cpu and its warp-ctc).
    """

    def __init__(self, steps: int, blank: int) -> None:
        super().__init__()
        self.steps, self.blank = steps, blank

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Return the scalar loss of (T, N, C) scores and (N, L) labels."""
        index = indices(label, x.shape[2], "label")
        letters = index != self.blank
        if not bool(letters.any()):
            raise DataError("no sequence has a label", code="empty", field="label", value=self.blank)
        lengths = letters.sum(1)
        lasting = torch.full_like(lengths, self.steps)
        losses = F.ctc_loss(
            precise(x).log_softmax(2), index[letters], lasting, lengths, self.blank, "none", zero_infinity=True
        )
        total = losses.sum()
        return total + (total / x.shape[1] - total).detach()


@register
class CtcLoss(Loss):
    """Connectionist temporal classification (Graves et al., 2006)."""

    type = "CtcLoss"
    forks = ("crnn",)
    summary = "connectionist temporal classification"
    origin = "src/caffe/layers/ctc_loss_layer.cpp"
    evidence = Evidence.TRANSCRIPTION
    unforced = 1
    accounts = {
        "ctc_loss_param": Account(
            read=("time_step", "blank_label"), ignored={"alphabet_size": "a value other than the bottom's is refused"}
        ),
        "loss_param": Account(ignored=UNREAD),
    }

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        message, (x, label), field = spec.message("ctc_loss_param"), spec.bottoms, "ctc_loss_param"
        if len(x) != 3 or len(label) != 2 or x[1] != label[0]:
            yield spec.misfit("needs scores (T, N, C) and labels (N, L)", spec.bottoms)
            return
        if message.alphabet_size != x[2]:
            yield spec.fault(f"must be the number of scores ({x[2]})", f"{field}.alphabet_size", code="mismatch")
        if not 1 <= message.time_step <= x[0]:
            yield spec.fault(f"must be 1 to the number of steps ({x[0]})", f"{field}.time_step")
        if not 0 <= message.blank_label < x[2]:
            yield spec.fault("is not the number of a score", f"{field}.blank_label")

    def module(self, spec: LayerSpec) -> nn.Module:
        message = spec.message("ctc_loss_param")
        return CtcLossModule(message.time_step, message.blank_label)


class ContinuationIndicatorModule(nn.Module):
    """0 at the first step and 1 at the others."""

    def __init__(self, steps: int, batch: int) -> None:
        super().__init__()
        indicator = torch.ones(steps, batch, device="cpu")  # values, even where modules are made without memory
        indicator[0] = 0
        self.register_buffer("indicator", indicator, persistent=False)

    indicator: torch.Tensor

    def forward(self) -> torch.Tensor:
        """Return (steps, batch)."""
        return self.indicator.clone()


@register
class ContinuationIndicator(Layer):
    """The second bottom of LSTM for sequences that fill a batch."""

    type = "ContinuationIndicator"
    forks = ("crnn",)
    summary = "0 at the first step, 1 at the others"
    origin = "src/caffe/layers/continuation_indicator_layer.cpp"
    evidence = Evidence.TRANSCRIPTION
    gradient = Gradient.STOPS
    bottoms = exactly(0)
    accounts = {"continuation_indicator_param": Account(read=("time_step", "batch_size"))}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        yield from spec.at_least_one("continuation_indicator_param", "time_step", "batch_size")

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        message = spec.message("continuation_indicator_param")
        return ((message.time_step, message.batch_size),)

    def module(self, spec: LayerSpec) -> nn.Module:
        message = spec.message("continuation_indicator_param")
        return ContinuationIndicatorModule(message.time_step, message.batch_size)

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        message = spec.message("continuation_indicator_param")
        indicator = np.ones((message.time_step, message.batch_size), np.float32)
        indicator[0] = 0
        return [onnx.node("Identity", indicator)]


class LabelsequenceAccuracyModule(nn.Module):
    """Fraction of sequences whose best labels, repeats and blanks taken out, are the labels."""

    def __init__(self, blank: int) -> None:
        super().__init__()
        self.blank = blank

    @torch.no_grad()
    def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Return the accuracy of (N, T, C) scores and (N, L) labels."""
        best = x.argmax(2)
        before = F.pad(best, (1, 0), value=self.blank)[:, :-1]
        letters = (best != before) & (best != self.blank)
        hits = [
            read[where].tolist() == [int(value) for value in true.tolist() if value != self.blank]
            for read, where, true in zip(best, letters, label, strict=True)
        ]
        return x.new_tensor(sum(hits) / len(hits))


@register
class LabelsequenceAccuracy(Layer):
    """Accuracy of whole sequences."""

    type = "LabelsequenceAccuracy"
    forks = ("crnn",)
    summary = "fraction of label sequences that are read without an error"
    origin = "src/caffe/layers/labelsequence_accuracy_layer.cpp"
    evidence = Evidence.TRANSCRIPTION
    gradient = Gradient.REFUSED
    no_gradient = (0, 1)
    is_result = True
    inference = False
    bottoms = exactly(2)
    accounts = {"labelsequence_accuracy_param": Account(read=("blank_label",))}

    def whole_number_bottoms(self, count: int) -> tuple[int, ...]:
        return (1,)

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        x, label = spec.bottoms
        if len(x) != 3 or len(label) != 2 or x[0] != label[0]:
            yield spec.misfit("needs scores (N, T, C) and labels (N, L)", spec.bottoms)

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        return ((),)

    def module(self, spec: LayerSpec) -> nn.Module:
        return LabelsequenceAccuracyModule(spec.message("labelsequence_accuracy_param").blank_label)
