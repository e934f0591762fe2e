"""InfogainLoss: cross entropy with a matrix of what each label is worth against each class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from caffe_compat.errors import CaffeCompatError, FileError
from caffe_compat.formats.extras import where
from caffe_compat.formats.files import read_binary
from caffe_compat.layers.base import Account, Arity, Layer, LayerSpec, Shape, count, register
from caffe_compat.layers.class_losses import SoftmaxWithLossModule
from caffe_compat.layers.labels import check_labels, class_indices, outer_class_inner
from caffe_compat.schema import caffe_pb2 as pb

_LOG_THRESHOLD = float(np.log(1e-20))  # probabilities are taken to be no smaller


class InfogainLossModule(SoftmaxWithLossModule):
    """- sum H[label] log softmax(x), normalised; where Caffe caps a logarithm, the gradient goes on as Caffe's does."""

    def __init__(
        self,
        axis: int,
        ignore: int | None,
        normalization: int,
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
        capped = logs + (logs.clamp(min=_LOG_THRESHOLD) - logs).detach()
        index, keep = class_indices(label, scores, self.ignore)
        matrix = torch.from_numpy(self.matrix) if infogain is None else infogain.detach()  # Caffe has no gradient of it
        rows = matrix.to(scores).reshape(scores.shape[1], -1)[index]  # outer, inner, class
        lost = -(rows.movedim(2, 1) * capped).sum(1)
        loss = torch.where(keep, lost, 0).sum() / self.normalizer(keep)
        return (loss, logs.detach().exp().view(x.shape).to(x.dtype)) if self.probabilities else loss


@register
class InfogainLoss(Layer):
    """Softmax cross entropy weighed by a matrix: from a file, or the third bottom."""

    type = "InfogainLoss"
    summary = "softmax cross entropy weighted by a matrix; second top: probabilities"
    no_gradient = (1, 2)
    unforced = 1
    bottoms = Arity(2, 3)
    tops = Arity(1, 2)
    is_loss = True
    inference = False
    accounts = {
        "infogain_loss_param": Account(read=("source", "axis")),
        "loss_param": Account(
            read=("ignore_label", "normalization"), ignored={"normalize": "Caffe refuses it here, and so do we"}
        ),
    }

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        axis, shape = self._axis(spec), spec.bottoms[0]
        if spec.param.loss_param.HasField("normalize"):
            problem = "Caffe rejects this field in InfogainLoss"
            yield spec.error(problem, "loss_param.normalize", hint="use normalization", code="unsupported")
        if not spec.bottoms[1] or shape[0] != spec.bottoms[1][0]:
            yield spec.error(
                "scores and labels must have the same batch size", "bottom", spec.bottoms, code="shape-mismatch"
            )
        yield from check_labels(spec, axis)
        expected = shape[axis] ** 2
        if len(spec.bottoms) == 3:
            if count(spec.bottoms[2]) != expected:
                problem = f"the matrix must have {shape[axis]} x {shape[axis]} values"
                yield spec.error(problem, "bottom", spec.bottoms[2], code="shape-mismatch")
        elif not spec.param.infogain_loss_param.HasField("source"):
            problem = "the infogain matrix is missing"
            hint = "a file, or a third bottom"
            yield spec.error(problem, "infogain_loss_param.source", hint=hint, code="field-missing")
        else:
            yield from self._check_file(spec, shape[axis])

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        return ((), spec.bottoms[0])[: len(spec.param.top)]

    def module(self, spec: LayerSpec) -> nn.Module:
        message = spec.param.loss_param
        classes = spec.bottoms[0][self._axis(spec)]
        return InfogainLossModule(
            self._axis(spec),
            message.ignore_label if message.HasField("ignore_label") else None,
            message.normalization,
            len(spec.param.top) > 1,
            None if len(spec.bottoms) == 3 else _matrix(spec).reshape(classes, classes),
        )

    def _axis(self, spec: LayerSpec) -> int:
        return spec.axis(spec.param.infogain_loss_param.axis, "infogain_loss_param.axis")

    def _check_file(self, spec: LayerSpec, classes: int) -> Iterator[CaffeCompatError]:
        field, source = "infogain_loss_param.source", spec.param.infogain_loss_param.source
        try:
            size = _matrix(spec).size
        except FileError as error:
            yield spec.error(error.problem, field, source, error.hint, code=error.code)
            return
        if size != classes * classes:
            yield spec.error(
                f"the file holds {size} values, expected {classes} x {classes}", field, source, code="shape-mismatch"
            )

    def has_inner_layer(self, param: pb.LayerParameter) -> bool:
        return True


def _matrix(spec: LayerSpec) -> npt.NDArray[np.float32]:
    """Return the matrix in the file that the layer names: from the working directory, or beside the prototxt."""
    source, at = Path(spec.param.infogain_loss_param.source), where(spec.param)
    if at is not None and not source.exists():
        source = Path(at.file).parent / source
    blob, store = read_binary(source, pb.BlobProto)
    return np.asarray(store.data(blob), np.float32)
