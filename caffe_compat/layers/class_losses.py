"""Scores of classes: Softmax, the losses Hinge, MultinomialLogistic, SoftmaxWith and Infogain, and Accuracy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from caffe_compat.errors import CaffeCompatError, FileError
from caffe_compat.formats.files import read_binary
from caffe_compat.layers.base import ENGINE, Account, Arity, Layer, LayerSpec, Shape, count, exactly, register
from caffe_compat.layers.facts import Gradient, Memories, OnnxWriter, Reads
from caffe_compat.layers.labels import (
    check_labels,
    check_row_labels,
    class_indices,
    indices,
    outer_class_inner,
    precise,
)
from caffe_compat.layers.losses import UNREAD, Loss, NormalizedLossModule, ignored_label, normalization_of
from caffe_compat.schema import caffe_pb2 as pb


@register
class Softmax(Layer):
    """exp(x) / sum exp(x) along one axis."""

    type = "Softmax"
    summary = "softmax along an axis"
    reads = Reads.TOP
    ignores_propagate_down = True
    accounts = {"softmax_param": Account(read=("axis",), ignored=ENGINE)}

    def module(self, spec: LayerSpec) -> nn.Module:
        return nn.Softmax(spec.axis("softmax_param.axis"))

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        axis = spec.axis("softmax_param.axis")
        return [onnx.node("Softmax", onnx.bottoms[0], axis=axis)]


LOG_FLT_MIN = -87.33654475055310  # ln of the smallest normal float32: Caffe caps the loss of one sample there
_LOG_THRESHOLD = 1e-20  # probabilities are taken to be no smaller
_LEAST_LOG = float(np.log(_LOG_THRESHOLD))


def _rows(x: torch.Tensor) -> torch.Tensor:
    """Return scores as (N, classes, 1)."""
    return precise(x).reshape(x.shape[0], -1, 1)


class HingeLossModule(nn.Module):
    """One-vs-rest hinge loss: max(0, 1 - x) for the label, max(0, 1 + x) for every other class."""

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
class HingeLoss(Loss):
    """One-against-all hinge loss, L1 or L2."""

    type = "HingeLoss"
    summary = "one-vs-rest hinge loss; norm L1 or L2"
    no_gradient = (1,)
    unforced = 1
    accounts = {"hinge_loss_param": Account(read=("norm",)), "loss_param": Account(ignored=UNREAD)}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        yield from spec.ranks(0, 4)
        yield from check_row_labels(spec)

    def module(self, spec: LayerSpec) -> nn.Module:
        return HingeLossModule(spec.param.hinge_loss_param.norm == pb.HingeLossParameter.L2)

    def after_forward(self, spec: LayerSpec, memory: Memories) -> None:
        """Leave the margins in the scores' gradient, where Caffe computes them."""
        where = memory.where
        margins = memory.bottoms[0].gradients(where)
        margins.copy_(memory.bottoms[0].values(where))
        rows = margins.view(margins.shape[0], -1)
        index = self._labels(memory, rows.shape[1])
        rows.scatter_(1, index, -rows.gather(1, index))
        rows.add_(1).clamp_(min=0)

    def caffe_gradients(self, spec: LayerSpec, memory: Memories) -> list[torch.Tensor] | None:
        """Return the result for the margins in the scores' gradient, those of an earlier pass included."""
        margins = memory.bottoms[0].gradients(memory.where)
        rows = margins.view(margins.shape[0], -1)
        index = self._labels(memory, rows.shape[1])
        signed = rows.scatter(1, index, -rows.gather(1, index)).view_as(margins)
        weight = memory.tops[0].gradients(memory.where).reshape(()) / margins.shape[0]
        square = spec.param.hinge_loss_param.norm == pb.HingeLossParameter.L2
        return [signed * (2 * weight) if square else signed.sign() * weight]

    def _labels(self, memory: Memories, classes: int) -> torch.Tensor:
        return indices(memory.bottoms[1].values(memory.where).reshape(-1, 1), classes, "label")


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
class MultinomialLogisticLoss(Loss):
    """Cross entropy of probabilities that are given as such."""

    type = "MultinomialLogisticLoss"
    summary = "cross entropy of given probabilities"
    no_gradient = (1,)
    unforced = 1
    accounts = {"loss_param": Account(ignored=UNREAD)}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        yield from spec.ranks(0, 4)
        yield from check_row_labels(spec)

    def module(self, spec: LayerSpec) -> nn.Module:
        return MultinomialLogisticLossModule()


class SoftmaxWithLossModule(NormalizedLossModule):
    """Cross entropy of the softmax, normalised as Caffe does; its probabilities pass no gradient back, as in Caffe."""

    def __init__(self, axis: int, ignore: int | None, normalization: str, probabilities: bool) -> None:
        super().__init__(ignore, normalization)
        self.axis, self.probabilities = axis, probabilities

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Return the scalar loss (and the probabilities) of scores and class labels."""
        logs = outer_class_inner(x, self.axis).log_softmax(1)
        losses, keep = self.each(logs, label)
        loss = losses.sum() / self.normalizer(keep)
        return (loss, logs.detach().exp().view(x.shape).to(x.dtype)) if self.probabilities else loss

    def each(self, logs: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss of each prediction (outer, inner), 0 for an ignored label, and which of them count."""
        index, keep = class_indices(label, logs, self.ignore)
        loss = self._weighted(self._capped(-logs.gather(1, index.unsqueeze(1)).squeeze(1)), index)
        return torch.where(keep, loss, 0), keep

    def _capped(self, loss: torch.Tensor) -> torch.Tensor:
        """Return losses up to Caffe's cap, which has no gradient of its own."""
        return loss + (loss.clamp(max=-LOG_FLT_MIN) - loss).detach()

    def _weighted(self, loss: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """Return the loss of each prediction, given its class; for those that weigh classes."""
        return loss


@register
class SoftmaxWithLoss(Loss):
    """-log softmax(x)[label], summed and normalised."""

    type = "SoftmaxWithLoss"
    summary = "softmax cross entropy; ignore_label, normalization; second top: probabilities"
    no_gradient = (1,)
    unforced = 1
    unsuited_scores = {
        "Softmax": "the loss applies a softmax itself: the gradient of two is weak and biased",
        "ReLU": "scores below 0 are lost: a class cannot be made less likely than that",
    }
    tops = Arity(1, 2)
    accounts = {
        "loss_param": Account(read=("ignore_label", "normalization", "normalize")),
        "softmax_param": Account(read=("axis",), ignored=ENGINE),
    }

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        axis = spec.axis("softmax_param.axis")
        if not spec.bottoms[1] or spec.bottoms[0][0] != spec.bottoms[1][0]:
            yield spec.misfit("scores and labels must have the same batch size", spec.bottoms)
        yield from check_labels(spec, axis)

    def module(self, spec: LayerSpec) -> nn.Module:
        return SoftmaxWithLossModule(*self._settings(spec))

    def _settings(self, spec: LayerSpec) -> tuple[int, int | None, str, bool]:
        """Return axis, ignored label, normalization, and whether the probabilities are a top."""
        message, axis = spec.param.loss_param, spec.axis("softmax_param.axis")
        return axis, ignored_label(message), normalization_of(message), len(spec.param.top) > 1

    def has_inner_layer(self, param: pb.LayerParameter) -> bool:
        return not self.forks


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
        axis = spec.axis("accuracy_param.axis")
        top_k, classes = spec.param.accuracy_param.top_k, spec.bottoms[0][axis]
        if not 1 <= top_k <= classes:
            yield spec.fault(f"the bottom has {classes} classes", "accuracy_param.top_k", f"1 to {classes}")
        yield from check_labels(spec, axis)

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        return ((), (spec.bottoms[0][spec.axis("accuracy_param.axis")],))[: len(spec.param.top)]

    def module(self, spec: LayerSpec) -> nn.Module:
        message = spec.param.accuracy_param
        axis, per_class = spec.axis("accuracy_param.axis"), len(spec.param.top) > 1
        return AccuracyModule(axis, message.top_k, ignored_label(message), per_class)

    def whole_number_bottoms(self, count: int) -> Sequence[int]:
        return (1,)


class InfogainLossModule(SoftmaxWithLossModule):
    """- sum H[label] log softmax(x), normalised; where Caffe caps a logarithm, the gradient goes on as Caffe's does."""

    def __init__(
        self,
        axis: int,
        ignore: int | None,
        normalization: str,
        probabilities: bool,
        matrix: npt.NDArray[np.float32] | None,
    ) -> None:
        super().__init__(axis, ignore, normalization, probabilities)
        self.matrix = matrix

    def forward(
        self, x: torch.Tensor, label: torch.Tensor, infogain: torch.Tensor | None = None
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Return the scalar loss (and the probabilities) of scores, class labels and the matrix, if it is not fixed."""
        scores = outer_class_inner(x, self.axis)
        logs = scores.log_softmax(1)
        capped = logs + (logs.clamp(min=_LEAST_LOG) - logs).detach()
        index, keep = class_indices(label, scores, self.ignore)
        matrix = torch.from_numpy(self.matrix) if infogain is None else infogain.detach()  # Caffe has no gradient of it
        rows = matrix.to(scores).reshape(scores.shape[1], -1)[index]  # outer, inner, class
        lost = -(rows.movedim(2, 1) * capped).sum(1)
        loss = torch.where(keep, lost, 0).sum() / self.normalizer(keep)
        return (loss, logs.detach().exp().view(x.shape).to(x.dtype)) if self.probabilities else loss


@register
class InfogainLoss(Loss):
    """Softmax cross entropy weighed by a matrix: from a file, or the third bottom."""

    type = "InfogainLoss"
    summary = "softmax cross entropy weighted by a matrix; second top: probabilities"
    no_gradient = (1, 2)
    unforced = 1
    bottoms = Arity(2, 3)
    tops = Arity(1, 2)
    accounts = {
        "infogain_loss_param": Account(read=("source", "axis")),
        "loss_param": Account(
            read=("ignore_label", "normalization"), ignored={"normalize": "Caffe refuses it here; so does this engine"}
        ),
    }

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        axis, shape = spec.axis("infogain_loss_param.axis"), spec.bottoms[0]
        if spec.param.loss_param.HasField("normalize"):
            problem = "Caffe rejects this field in InfogainLoss"
            yield spec.error(problem, "loss_param.normalize", hint="use normalization", code="unsupported")
        if not spec.bottoms[1] or shape[0] != spec.bottoms[1][0]:
            yield spec.misfit("scores and labels must have the same batch size", spec.bottoms)
        yield from check_labels(spec, axis)
        expected = shape[axis] ** 2
        if len(spec.bottoms) == 3:
            if count(spec.bottoms[2]) != expected:
                problem = f"the matrix must have {shape[axis]} x {shape[axis]} values"
                yield spec.misfit(problem, spec.bottoms[2])
        elif not spec.param.infogain_loss_param.HasField("source"):
            problem = "the infogain matrix is missing"
            hint = "a file, or a third bottom"
            yield spec.error(problem, "infogain_loss_param.source", hint=hint, code="field-missing")
        else:
            yield from self._check_file(spec, shape[axis])

    def module(self, spec: LayerSpec) -> nn.Module:
        message = spec.param.loss_param
        classes = spec.bottoms[0][spec.axis("infogain_loss_param.axis")]
        return InfogainLossModule(
            spec.axis("infogain_loss_param.axis"),
            ignored_label(message),
            normalization_of(message),
            len(spec.param.top) > 1,
            None if len(spec.bottoms) == 3 else _matrix(spec).reshape(classes, classes),
        )

    def _check_file(self, spec: LayerSpec, classes: int) -> Iterator[CaffeCompatError]:
        field, source = "infogain_loss_param.source", spec.param.infogain_loss_param.source
        try:
            size = _matrix(spec).size
        except FileError as error:
            yield spec.error(error.problem, field, source, error.hint, code=error.code)
            return
        if size != classes * classes:
            yield spec.error(
                f"the file has {size} values, expected {classes} x {classes}", field, source, code="shape-mismatch"
            )

    def has_inner_layer(self, param: pb.LayerParameter) -> bool:
        return True


def _matrix(spec: LayerSpec) -> npt.NDArray[np.float32]:
    """Return the matrix in the file that the layer names, in the working directory or the prototxt's folder."""
    blob, store = read_binary(spec.file(spec.param.infogain_loss_param.source), pb.BlobProto)
    return np.asarray(store.data(blob), np.float32)
