"""R-FCN: pooling by position, and the losses and the choice of regions of its online hard example mining (OHEM).

The fork has these layers for GPUs only; remarks about its code are about its CUDA code.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from caffe_compat.errors import CaffeCompatError, DataError
from caffe_compat.layers.base import Account, Arity, Layer, LayerSpec, Shape, exactly, register
from caffe_compat.layers.class_losses import SoftmaxWithLoss, SoftmaxWithLossModule
from caffe_compat.layers.facts import Evidence, Gradient
from caffe_compat.layers.forks.rcnn import check_region, half_away, regions_problem
from caffe_compat.layers.forks.std_sort import sorted_as_gcc
from caffe_compat.layers.labels import outer_class_inner, precise, whole_numbers
from caffe_compat.layers.losses import UNREAD_BY_FORK, Loss, normalization_of
from caffe_compat.schema import forks_pb2 as fb

_LEAST = 0.1  # a region narrower than this, in cells of the map, counts as this wide


def four_axes(shape: Shape) -> Shape:
    """Return a shape as Caffe's num(), channels(), height() and width() read it."""
    return (*shape, 1, 1, 1, 1)[:4]


class PSROIPoolingModule(nn.Module):
    """The mean in each of a grid of bins over each region; each bin has channels of its own."""

    def __init__(self, output: int, group: int, scale: float) -> None:
        super().__init__()
        self.output, self.group, self.scale = output, group, scale

    def forward(self, x: torch.Tensor, rois: torch.Tensor) -> torch.Tensor:
        """Pool (N, output group^2, H, W) over R regions (image, x1, y1, x2, y2) into (R, output, group, group)."""
        high, wide = x.shape[2:]
        maps = x.view(x.shape[0], self.output, self.group, self.group, high, wide)
        corners = rois.detach().reshape(rois.shape[0], 5).to(x.dtype).cpu().numpy()
        if not len(corners):
            return x.new_zeros(0, self.output, self.group, self.group)
        return torch.stack([self._means(maps, roi) for roi in corners])

    def _means(self, maps: torch.Tensor, roi: npt.NDArray[np.floating]) -> torch.Tensor:
        check_region(roi, maps.shape[0])
        rows, columns = self._bins(roi[[2, 4]], maps.shape[4]), self._bins(roi[[1, 3]], maps.shape[5])
        top, left = rows[:, 0].min(), columns[:, 0].min()
        window = maps[int(roi[0]), ..., top : rows[:, 1].max(), left : columns[:, 1].max()]
        across = _members(columns - left, window.shape[4], window)
        down = _members(rows - top, window.shape[3], window)
        sums = ((window * across[:, None]).sum(4) * down[:, None]).sum(3)
        area = down.sum(1)[:, None] * across.sum(1)
        return torch.where(area > 0, sums / area.clamp(min=1), 0)

    def _bins(self, ends: npt.NDArray[np.floating], size: int) -> npt.NDArray[np.int64]:
        """Return (group, 2): where each bin starts and ends, clipped to the map; the precision is the map's."""
        dtype = ends.dtype.type
        start, end = half_away(ends).astype(dtype) * dtype(self.scale)
        end = dtype(half_away(ends)[1] + 1) * dtype(self.scale)
        step = dtype(max(float(end - start), _LEAST)) / dtype(self.group)
        cells = np.arange(self.group).astype(dtype)
        bins = np.stack([np.floor(cells * step + start), np.ceil((cells + 1) * step + start)], 1)
        clipped = bins.clip(0, size).astype(np.int64)
        return np.maximum(clipped, clipped[:, :1])


def _members(bins: npt.NDArray[np.int64], size: int, like: torch.Tensor) -> torch.Tensor:
    """Return (bins, size): 1 where a cell belongs to a bin."""
    cells = np.arange(size)
    return torch.from_numpy((bins[:, :1] <= cells) & (cells < bins[:, 1:])).to(like.device, like.dtype)


@register
class PSROIPooling(Layer):
    """Position-sensitive average pooling of each region into a grid of one size."""

    type = "PSROIPooling"
    forks = ("rfcn", "py-rfcn")
    summary = "average pooling of regions, with channels of its own for each bin"
    origin = "src/caffe/layers/psroi_pooling_layer.cu"
    evidence = Evidence.TRANSCRIPTION
    bottoms = exactly(2)
    accounts = {"psroi_pooling_param": Account(read=("spatial_scale", "output_dim", "group_size"))}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        message, field = spec.message("psroi_pooling_param"), "psroi_pooling_param"
        if not message.HasField("spatial_scale"):
            yield spec.error("must be given", f"{field}.spatial_scale", code="field-missing")
        yield from spec.at_least_one(field, "output_dim", "group_size")
        channels = message.output_dim * message.group_size**2
        if len(spec.bottoms[0]) != 4 or spec.bottoms[0][1] != channels:
            yield spec.misfit(f"needs 4 axes and output_dim x group_size^2 = {channels} channels", spec.bottoms[0])
        yield from regions_problem(spec, 1)

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        message = spec.message("psroi_pooling_param")
        return ((spec.bottoms[1][0], message.output_dim, message.group_size, message.group_size),)

    def module(self, spec: LayerSpec) -> nn.Module:
        message = spec.message("psroi_pooling_param")
        return PSROIPoolingModule(message.output_dim, message.group_size, message.spatial_scale)


class BoxAnnotatorOHEMModule(nn.Module):
    """Labels and box weights of the regions with the largest loss of each image; others are ignored."""

    def __init__(self, regions: int, ignore: int, shapes: tuple[Shape, Shape]) -> None:
        super().__init__()
        self.regions, self.ignore, self.shapes = regions, ignore, shapes

    @torch.no_grad()
    def forward(
        self, rois: torch.Tensor, loss: torch.Tensor, label: torch.Tensor, weights: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the labels (R, 1, H, W) and the weights (R, C, H, W) of the chosen regions."""
        labels, out = self.shapes
        numbers = rois.reshape(rois.shape[0], 5, -1)[:, 0].flatten()
        image = torch.from_numpy(whole_numbers(numbers.cpu().numpy(), "rois")).to(rois.device)
        if image.numel() and int(image.min()) < 0:
            problem = "a region names an image before the first"
            raise DataError(problem, code="out-of-range", field="rois", value=int(image.min()))
        order = torch.from_numpy(sorted_as_gcc(-loss.flatten().cpu().numpy())).to(image.device)
        chosen = torch.zeros(image.shape, dtype=torch.bool, device=image.device)
        for number in torch.unique(image):
            chosen[order[image[order] == number][: self.regions]] = True
        chosen = chosen.view(labels)
        return torch.where(chosen, label.reshape(labels), self.ignore), torch.where(chosen, weights.reshape(out), 0)


@register
class BoxAnnotatorOHEM(Layer):
    """Choose the regions that training learns from."""

    type = "BoxAnnotatorOHEM"
    forks = ("rfcn", "py-rfcn")
    summary = "labels and box weights of the regions with the largest loss"
    origin = "src/caffe/layers/box_annotator_ohem_layer.cu"
    evidence = Evidence.TRANSCRIPTION
    bottoms = exactly(4)
    tops = exactly(2)
    inference = False
    gradient = Gradient.STOPS
    accounts = {"box_annotator_ohem_param": Account(read=("roi_per_img", "ignore_label"))}

    def whole_number_bottoms(self, count: int) -> tuple[int, ...]:
        return (2,)

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        yield from spec.at_least_one("box_annotator_ohem_param", "roi_per_img")
        rois, *others = map(four_axes, spec.bottoms)
        expected = [5, 1, 1, others[2][1]]
        if any(
            (shape[0], *shape[2:]) != (rois[0], *rois[2:]) or shape[1] != channels
            for shape, channels in zip([rois, *others], expected, strict=True)
        ):
            problem = "needs regions (R, 5, H, W), losses and labels (R, 1, H, W) and weights (R, C, H, W)"
            yield spec.misfit(problem, spec.bottoms)

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        return four_axes(spec.bottoms[2]), four_axes(spec.bottoms[3])

    def module(self, spec: LayerSpec) -> nn.Module:
        message = spec.message("box_annotator_ohem_param")
        shapes = four_axes(spec.bottoms[2]), four_axes(spec.bottoms[3])
        return BoxAnnotatorOHEMModule(message.roi_per_img, message.ignore_label, shapes)


def mode_of(spec: LayerSpec) -> str:
    """Return the name of a loss's normalisation; this fork has inserted a mode before NONE."""
    added = spec.additions("loss_param")
    if added.HasField("normalization"):
        return str(fb.RFCNLoss.NormalizationMode.Name(added.normalization))
    return normalization_of(spec.param.loss_param)


class InstanceSmoothL1LossModule(nn.Module):
    """Quadratic near 0, linear beyond 1; a further result is the loss of each place, without a gradient.

    Weights scale differences. Their gradient is that of the scaled difference, not scaled once more: the fork's
    Backward_gpu leaves that out, which is the true gradient for weights of 0 and 1 only.
    """

    def __init__(self, divisor: float, instances: Shape | None) -> None:
        super().__init__()
        self.divisor, self.instances = divisor, instances

    def forward(
        self, a: torch.Tensor, b: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Return the scalar loss (and that of each place, summed over channels)."""
        difference = precise(a) - precise(b).reshape(a.shape)
        if weights is not None:
            plain = difference.detach()
            difference = difference + (weights.detach().reshape(a.shape) * plain - plain)
        size = difference.abs()
        loss = torch.where(size < 1, 0.5 * difference * difference, size - 0.5)
        total = loss.sum() / self.divisor
        return total if self.instances is None else (total, loss.detach().sum(1, keepdim=True).view(self.instances))


@register
class InstanceSmoothL1Loss(Loss):
    """The loss of R-FCN's box regression, with that of each region as a second top."""

    type = "SmoothL1Loss"
    forks = ("rfcn",)
    summary = "quadratic near 0, linear beyond; weights; second top: of each region"
    origin = "src/caffe/layers/smooth_L1_loss_layer.cu"
    evidence = Evidence.TRANSCRIPTION
    bottoms = Arity(2, 3)
    tops = Arity(1, 2)
    last_resort = True
    accounts = {
        "loss_param": Account(
            read=("normalization", "normalize", "pre_fixed_normalizer"),
            ignored={"ignore_label": UNREAD_BY_FORK["ignore_label"]},
        )
    }

    def whole_number_bottoms(self, count: int) -> tuple[int, ...]:
        return ()

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        first = spec.bottoms[0]
        if not 2 <= len(first) <= 4 or any(four_axes(shape) != four_axes(first) for shape in spec.bottoms):
            yield spec.misfit("the bottoms must have the same shape, of 2 to 4 axes", spec.bottoms)

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        n, _, high, wide = four_axes(spec.bottoms[0])
        return ((), (n, 1, high, wide))[: len(spec.param.top)]

    def module(self, spec: LayerSpec) -> nn.Module:
        n, _, high, wide = four_axes(spec.bottoms[0])
        every = n * high * wide
        fixed = spec.additions("loss_param").pre_fixed_normalizer
        divisors = {"FULL": every, "VALID": every, "BATCH_SIZE": n, "PRE_FIXED": fixed, "NONE": 1}
        instances = (n, 1, high, wide) if len(spec.param.top) > 1 else None
        return InstanceSmoothL1LossModule(max(1.0, divisors[mode_of(spec)]), instances)


@register
class SSDSmoothL1Loss(InstanceSmoothL1Loss):
    """SSD's: over the batch size; with two bottoms it is that of Fast R-CNN with a sigma of 1."""

    forks = ("ssd",)
    summary = "quadratic near 0, linear beyond; weights"
    origin = "src/caffe/layers/smooth_L1_loss_layer.cpp"
    evidence = Evidence.RECORDED
    tops = exactly(1)
    accounts = {"loss_param": Account(ignored=UNREAD_BY_FORK)}

    def module(self, spec: LayerSpec) -> nn.Module:
        return InstanceSmoothL1LossModule(spec.bottoms[0][0], None)


@register
class SmoothL1LossOHEM(InstanceSmoothL1Loss):
    """The same layer under the name it has in the forks for py-R-FCN."""

    type = "SmoothL1LossOHEM"
    forks = ("py-rfcn",)
    origin = "src/caffe/layers/smooth_l1_loss_ohem_layer.cu"


class InstanceSoftmaxWithLossModule(SoftmaxWithLossModule):
    """SoftmaxWithLoss that also returns the loss of each prediction, without a gradient."""

    def __init__(self, axis: int, ignore: int | None, normalization: str, probabilities: bool, tops: int) -> None:
        super().__init__(axis, ignore, normalization, probabilities)
        self.tops = tops

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Return the scalar loss, the probabilities and the loss of each prediction in the labels' shape."""
        results = super().forward(x, label)
        if self.tops < 3:
            return results
        with torch.no_grad():
            losses, _ = self.each(outer_class_inner(x, self.axis).log_softmax(1), label)
        return (*results, losses.view(label.shape))


@register
class InstanceSoftmaxWithLoss(SoftmaxWithLoss):
    """SoftmaxWithLoss with the loss of each prediction as a third top."""

    forks = ("rfcn",)
    summary = "softmax cross entropy; third top: of each prediction"
    origin = "src/caffe/layers/softmax_loss_layer.cu"
    evidence = Evidence.TRANSCRIPTION
    tops = Arity(1, 3)
    accounts = {
        "loss_param": Account(
            read=SoftmaxWithLoss.accounts["loss_param"].read,
            ignored={"pre_fixed_normalizer": "the fork reads it for SmoothL1Loss only"},
        ),
        "softmax_param": SoftmaxWithLoss.accounts["softmax_param"],
    }

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        if mode_of(spec) == "PRE_FIXED":
            problem = "the fork has PRE_FIXED for SmoothL1Loss only"
            yield spec.error(problem, "loss_param.normalization", "PRE_FIXED", code="unsupported")
        yield from super().check(spec)

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        return ((), *spec.bottoms)[: len(spec.param.top)]

    def module(self, spec: LayerSpec) -> nn.Module:
        axis, ignore, _, probabilities = self._settings(spec)
        return InstanceSoftmaxWithLossModule(axis, ignore, mode_of(spec), probabilities, len(spec.param.top))


@register
class SoftmaxWithLossOHEM(InstanceSoftmaxWithLoss):
    """The same layer under the name it has in the forks for py-R-FCN."""

    type = "SoftmaxWithLossOHEM"
    forks = ("py-rfcn",)
    origin = "src/caffe/layers/softmax_loss_ohem_layer.cu"
