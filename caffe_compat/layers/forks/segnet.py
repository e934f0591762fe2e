"""SegNet's layers: Upsample by the mask of a pooling, BN without moving statistics, weighted loss, dropout in TEST."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import Account, Arity, BlobDef, Layer, LayerSpec, Shape, exactly, register
from caffe_compat.layers.class_losses import SoftmaxWithLoss, SoftmaxWithLossModule
from caffe_compat.layers.dropout import Dropout
from caffe_compat.layers.facts import Evidence, OnnxWriter, Reads
from caffe_compat.layers.labels import indices

_EPS = 1e-9


class UnpoolModule(nn.Module):
    """Values put back where a pooling took them from, zeros elsewhere.

    Where two values share an index, the later value is kept and both get its gradient, as in the fork.
    """

    def __init__(self, size: tuple[int, int] | None, scale: tuple[int, int], less: tuple[int, int]) -> None:
        super().__init__()
        self.size, self.scale, self.less = size, scale, less

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return (N, C, height, width) of (N, C, H, W) and the places within each map, checked on the CPU only."""
        high, wide = self.size or (x.shape[2] * self.scale[0] - self.less[0], x.shape[3] * self.scale[1] - self.less[1])
        index = indices(mask.flatten(2), high * wide, "mask", "the pooling's bottom has another size")
        values = x.flatten(2)
        zeros = values.new_zeros(*x.shape[:2], high * wide)
        summed = zeros.scatter_add(2, index, values)
        order = torch.arange(index.shape[2], device=x.device).expand_as(index)
        last = torch.full(zeros.shape, -1, device=x.device).scatter_reduce(2, index, order, "amax")
        laid = torch.where(last < 0, 0, values.detach().gather(2, last.clamp(min=0)))
        return (laid + (summed - summed.detach())).view(*x.shape[:2], high, wide)


@register
class SegNetUpsample(Layer):
    """Undo a max pooling, its mask being the second bottom."""

    type = "Upsample"
    forks = ("segnet",)
    summary = "puts values back where a pooling's mask points"
    origin = "src/caffe/layers/upsample_layer.cpp"
    evidence = Evidence.RECORDED
    reads = Reads.BOTTOM
    bottoms = exactly(2)
    accounts = {
        "upsample_param": Account(
            read=("scale", "scale_h", "scale_w", "pad_out_h", "pad_out_w", "upsample_h", "upsample_w")
        )
    }

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        message, field = spec.message("upsample_param"), "upsample_param"
        if len(spec.bottoms[0]) != 4 or spec.bottoms[0] != spec.bottoms[1]:
            yield spec.misfit("needs a bottom with 4 axes and a mask of the same shape", spec.bottoms)
            return
        for high, wide in (("upsample_h", "upsample_w"), ("scale_h", "scale_w")):
            if message.HasField(high) != message.HasField(wide):
                problem = f"{high} and {wide} must be given together"
                yield spec.error(problem, f"{field}.{high if message.HasField(high) else wide}", code="field-missing")
                return
        if message.HasField("scale") and message.HasField("scale_h"):
            yield spec.fault("conflicts with scale_h and scale_w", f"{field}.scale", code="conflict")
        size, scale, less = self._sizes(spec)
        if min(size or scale) < 2:
            yield spec.error(
                "must be at least 2",
                f"{field}.{'upsample_h' if size else 'scale'}",
                min(size or scale),
                code="out-of-range",
            )
        for name, pad, by in zip(("pad_out_h", "pad_out_w"), less, scale, strict=True):
            if pad and not size and by != 2:
                yield spec.error("needs a scale of 2", f"{field}.{name}", True, f"the scale is {by}", code="conflict")

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        (size, scale, less), shape = self._sizes(spec), spec.bottoms[0]
        return ((*shape[:2], *(size or (shape[2] * scale[0] - less[0], shape[3] * scale[1] - less[1]))),)

    def module(self, spec: LayerSpec) -> nn.Module:
        return UnpoolModule(*self._sizes(spec))

    def _sizes(self, spec: LayerSpec) -> tuple[tuple[int, int] | None, tuple[int, int], tuple[int, int]]:
        message = spec.message("upsample_param")
        size = (message.upsample_h, message.upsample_w) if message.HasField("upsample_h") else None
        scale = (message.scale_h, message.scale_w) if message.HasField("scale_h") else (message.scale, message.scale)
        return size, scale, (int(message.pad_out_h), int(message.pad_out_w))


class SegNetBNModule(nn.Module):
    """scale (x - mean) / sqrt(var + 1e-9) + shift by the batch's own statistics in both phases, or scale x + shift."""

    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(self, channels: int, learn: bool, tops: int) -> None:
        super().__init__()
        self.learn, self.tops = learn, tops
        self.weight = nn.Parameter(torch.empty(1, channels, 1, 1))
        self.bias = nn.Parameter(torch.empty(1, channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Normalise (N, C, ...); the batch's mean and variance as further results where they are tops."""
        y = x.reshape(*x.shape, *[1] * (4 - x.dim()))
        if not self.learn:
            return y * self.weight + self.bias
        mean = y.mean((2, 3), keepdim=True).mean(0, keepdim=True)
        square = y.square().mean((2, 3), keepdim=True).mean(0, keepdim=True)
        variance = square - mean.square()
        top = (y - mean) / (variance + _EPS).sqrt() * self.weight + self.bias
        return (top, mean.detach(), variance.detach())[: self.tops] if self.tops > 1 else top


@register
class SegNetBN(Layer):
    """Batch normalisation as SegNet trains it, or the fixed scale and shift it is tested with."""

    type = "BN"
    forks = ("segnet",)
    summary = "normalisation by the batch (LEARN), or scale and shift (INFERENCE)"
    origin = "src/caffe/layers/bn_layer.cpp"
    evidence = Evidence.RECORDED
    tops = Arity(1, 3)
    accounts = {"bn_param": Account(read=("bn_mode", "scale_filler", "shift_filler"))}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        yield from spec.ranks(2, 4)
        if len(spec.param.top) > 1 and not self._learns(spec):
            yield spec.error(
                "only bn_mode LEARN has tops for the statistics", "top", list(spec.param.top), code="conflict"
            )

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        shape = (*spec.bottoms[0], 1, 1)[:4]
        statistic = (1, shape[1], 1, 1)
        return (shape, statistic, statistic)[: len(spec.param.top)]

    def blobs(self, spec: LayerSpec) -> tuple[BlobDef, ...]:
        message, shape = spec.message("bn_param"), (1, spec.bottoms[0][1], 1, 1)
        return BlobDef("weight", shape, message.scale_filler), BlobDef("bias", shape, message.shift_filler)

    def module(self, spec: LayerSpec) -> nn.Module:
        return SegNetBNModule(spec.bottoms[0][1], self._learns(spec), len(spec.param.top))

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        if self._learns(spec):
            return Layer.onnx(self, spec, onnx)
        x = onnx.bottoms[0] if len(spec.bottoms[0]) == 4 else onnx.as_top(onnx.bottoms[0])
        scale, shift = onnx.blobs
        return [onnx.node("Add", onnx.node("Mul", x, scale), shift)]

    def _learns(self, spec: LayerSpec) -> bool:
        message = spec.message("bn_param")
        return bool(message.bn_mode == message.LEARN)


class WeightedSoftmaxLossModule(SoftmaxWithLossModule):
    """Cross entropy of the softmax, each prediction weighed by its label's class; the weights do not enter the mean."""

    def __init__(
        self, axis: int, ignore: int | None, normalization: str, probabilities: bool, classes: list[float]
    ) -> None:
        super().__init__(axis, ignore, normalization, probabilities)
        self.classes = classes

    def _weighted(self, loss: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        return loss * torch.tensor(self.classes, dtype=loss.dtype, device=loss.device)[index]


@register
class SegNetSoftmaxWithLoss(SoftmaxWithLoss):
    """SoftmaxWithLoss with a weight for each class."""

    forks = ("segnet",)
    summary = "softmax cross entropy; class_weighting"
    origin = "src/caffe/layers/softmax_loss_layer.cpp"
    evidence = Evidence.TRANSCRIPTION
    accounts = {
        "loss_param": Account(
            read=(*SoftmaxWithLoss.accounts["loss_param"].read, "weight_by_label_freqs", "class_weighting")
        ),
        "softmax_param": SoftmaxWithLoss.accounts["softmax_param"],
    }

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        yield from super().check(spec)
        added, classes = spec.additions("loss_param"), spec.bottoms[0][1] if len(spec.bottoms[0]) > 1 else 0
        if added.weight_by_label_freqs and len(added.class_weighting) != classes:
            problem = f"needs one weight per class ({classes}), got {len(added.class_weighting)}"
            yield spec.fault(problem, "loss_param.class_weighting", code="wrong-count")

    def module(self, spec: LayerSpec) -> nn.Module:
        added = spec.additions("loss_param")
        if not added.weight_by_label_freqs:
            return super().module(spec)
        return WeightedSoftmaxLossModule(*self._settings(spec), list(added.class_weighting))


class AlwaysDropout(nn.Module):
    """Dropout in both phases."""

    def __init__(self, ratio: float) -> None:
        super().__init__()
        self.ratio = ratio

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Zero a fraction of the values and scale the rest."""
        return F.dropout(x, self.ratio, training=True)


@register
class SegNetDropout(Dropout):
    """Dropout that can draw in TEST too, as Bayesian SegNet samples."""

    forks = ("segnet",)
    summary = "dropout; in TEST too with sample_weights_test"
    origin = "src/caffe/layers/dropout_layer.cpp"
    evidence = Evidence.TESTS
    identity_in_test = False
    accounts = {"dropout_param": Account(read=("dropout_ratio", "sample_weights_test"))}

    def fork_module(self, spec: LayerSpec) -> nn.Module | None:
        draws = spec.additions("dropout_param").sample_weights_test
        return AlwaysDropout(spec.param.dropout_param.dropout_ratio) if draws else None

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        return Layer.onnx(self, spec, onnx) if self.fork_module(spec) else super().onnx(spec, onnx)
