"""ROIPooling, SmoothL1Loss and unscaled Dropout of Fast R-CNN."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from caffe_compat.errors import CaffeCompatError, DataError
from caffe_compat.layers.base import Account, Arity, Layer, LayerSpec, Shape, count, exactly, register
from caffe_compat.layers.dropout import Dropout
from caffe_compat.layers.facts import Evidence, OnnxWriter
from caffe_compat.layers.labels import precise, whole_numbers
from caffe_compat.layers.losses import UNREAD_BY_FORK, Loss


def bins(start: int, end: int, pooled: int, size: int, dtype: npt.DTypeLike) -> list[tuple[int, int]]:
    """Return the (start, end) of each of `pooled` bins between two inclusive positions, clipped to 0..size.

    Bins overlap where they do not divide evenly; a region that ends before it starts counts as one wide.
    """
    width = np.array(max(end - start + 1, 1), dtype) / np.array(pooled, dtype)
    at = np.arange(pooled + 1).astype(dtype) * width
    lows, highs = np.floor(at[:-1]).astype(int) + start, np.ceil(at[1:]).astype(int) + start
    return list(zip(lows.clip(0, size).tolist(), highs.clip(0, size).tolist(), strict=True))


def half_away(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Round as C's round() does: half away from zero."""
    exact = values.astype(np.float64)
    return np.sign(exact) * np.floor(np.abs(exact) + 0.5)


def check_region(roi: npt.NDArray[np.floating], images: int) -> None:
    """Refuse a region (image, x1, y1, x2, y2) of no place, or of none of the images."""
    if not np.isfinite(roi).all():
        raise DataError("a region is not finite", code="not-finite", field="rois", value=roi.tolist())
    whole_numbers(roi, "rois")
    if not 0 <= int(roi[0]) < images:
        problem = "a region names an image outside the batch"
        raise DataError(problem, code="out-of-range", field="rois", value=int(roi[0]))


def regions_problem(spec: LayerSpec, bottom: int) -> Iterator[CaffeCompatError]:
    """Yield an error unless a bottom has 5 numbers for each region."""
    rois = spec.bottoms[bottom]
    if not rois or count(rois[1:]) != 5:
        yield spec.misfit("needs 5 numbers per region", rois, "image, x1, y1, x2, y2")


class ROIPoolingModule(nn.Module):
    """The largest value in each of a grid of bins over each region; of an empty bin, 0 without a gradient."""

    def __init__(self, pooled: tuple[int, int], scale: float) -> None:
        super().__init__()
        self.pooled, self.scale = pooled, scale

    def forward(self, x: torch.Tensor, rois: torch.Tensor) -> torch.Tensor:
        """Pool (N, C, H, W) over R regions: image, x1, y1, x2, y2 in each row."""
        with torch.no_grad():
            corners = rois.detach().reshape(rois.shape[0], -1).to(x.dtype).cpu().numpy()
            index = torch.stack([self._largest(x, roi) for roi in corners]) if len(corners) else x.new_empty(0)
            index = index.long().reshape(len(corners), x.shape[1], -1)
        image = torch.from_numpy(corners[:, 0].astype(np.int64)).to(x.device)
        channel = torch.arange(x.shape[1], device=x.device)
        values = x.flatten(2)[image[:, None, None], channel[:, None], index.clamp(min=0)]
        return torch.where(index < 0, 0, values).view(len(corners), x.shape[1], *self.pooled)

    def _largest(self, x: torch.Tensor, roi: npt.NDArray[np.floating]) -> torch.Tensor:
        """Return (C, bins): where in the map each bin's first largest value is, -1 for an empty bin."""
        check_region(roi, x.shape[0])
        maps, (high, wide) = x[int(roi[0])], x.shape[2:]
        corners = half_away(roi[1:] * roi.dtype.type(self.scale))  # the product has the precision of the map
        left, top, right, bottom = corners.astype(int).tolist()
        rows = bins(top, bottom, self.pooled[0], high, roi.dtype)
        columns = bins(left, right, self.pooled[1], wide, roi.dtype)
        first, last = min(a for a, _ in rows), max(b for _, b in rows)
        out = torch.full((x.shape[1], len(rows), len(columns)), -1, device=x.device)
        across = [j for j, (a, b) in enumerate(columns) if a < b]
        if first >= last or not across:
            return out.flatten(1)
        best = [maps[:, first:last, columns[j][0] : columns[j][1]].max(2) for j in across]  # of equals the first
        value = torch.stack([maxima.values for maxima in best], 1)  # channel, bin, row
        column = torch.stack([maxima.indices + columns[j][0] for maxima, j in zip(best, across, strict=True)], 1)
        for i, (a, b) in enumerate(rows):
            if a < b:
                row = value[:, :, a - first : b - first].max(2, keepdim=True).indices + (a - first)
                out[:, i, across] = ((row + first) * wide + column.gather(2, row)).squeeze(2)
        return out.flatten(1)


@register
class ROIPooling(Layer):
    """Max pooling of each region into a grid of one size."""

    type = "ROIPooling"
    forks = ("fast-rcnn", "yjxiong", "happynear")
    summary = "max pooling of regions into grids of one size"
    origin = "src/caffe/layers/roi_pooling_layer.cpp"
    evidence = Evidence.TRANSCRIPTION
    bottoms = exactly(2)
    accounts = {"roi_pooling_param": Account(read=("pooled_h", "pooled_w", "spatial_scale"))}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        yield from spec.at_least_one("roi_pooling_param", "pooled_h", "pooled_w")
        yield from spec.ranks(4, 4)
        yield from regions_problem(spec, 1)

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        message = spec.message("roi_pooling_param")
        return ((spec.bottoms[1][0], spec.bottoms[0][1], message.pooled_h, message.pooled_w),)

    def module(self, spec: LayerSpec) -> nn.Module:
        message = spec.message("roi_pooling_param")
        return ROIPoolingModule((message.pooled_h, message.pooled_w), message.spatial_scale)

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        message, (x, rois) = spec.message("roi_pooling_param"), onnx.bottoms
        size, rows = [message.pooled_h, message.pooled_w], onnx.node("Reshape", rois, [-1, 5])
        return [onnx.node("MaxRoiPool", x, rows, pooled_shape=size, spatial_scale=message.spatial_scale)]


class SmoothL1LossModule(nn.Module):
    """Quadratic near 0, linear beyond 1 / sigma^2, over the batch size; the weights have no gradient."""

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.square = sigma * sigma

    def forward(
        self, a: torch.Tensor, b: torch.Tensor, inside: torch.Tensor | None = None, outside: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the scalar loss; `inside` weighs differences, `outside` their costs."""
        difference = precise(a) - precise(b)
        if inside is not None:
            difference = difference * inside.detach()
        size = difference.abs()
        near = size < 1 / self.square
        loss = torch.where(near, 0.5 * difference * difference * self.square, size - 0.5 / self.square)
        if outside is not None:
            loss = loss * outside.detach()
        return loss.sum() / a.shape[0]


@register
class SmoothL1Loss(Loss):
    """The loss of Fast R-CNN's box regression."""

    type = "SmoothL1Loss"
    forks = ("fast-rcnn",)
    summary = "quadratic near 0, linear beyond; inside and outside weights"
    origin = "src/caffe/layers/smooth_L1_loss_layer.cu"
    evidence = Evidence.TRANSCRIPTION
    bottoms = Arity(2, 4)
    accounts = {"smooth_l1_loss_param": Account(read=("sigma",)), "loss_param": Account(ignored=UNREAD_BY_FORK)}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        if len(spec.bottoms) == 3:
            problem = "needs 2 bottoms, or 4 with inside and outside weights, got 3"
            hint = "SSD's and R-FCN's take 3: name the fork, as in fork='ssd'"
            yield spec.error(problem, "bottom", list(spec.param.bottom), hint, code="wrong-count")
        if not spec.bottoms[0] or any(shape != spec.bottoms[0] for shape in spec.bottoms):
            yield spec.misfit("the bottoms must have the same shape", spec.bottoms)
        sigma = spec.message("smooth_l1_loss_param").sigma
        if sigma == 0:
            yield spec.fault("must not be 0", "smooth_l1_loss_param.sigma")

    def module(self, spec: LayerSpec) -> nn.Module:
        return SmoothL1LossModule(spec.message("smooth_l1_loss_param").sigma)


class UnscaledDropout(nn.Module):
    """In TRAIN, zero a fraction of the values and leave the rest as they are; in TEST, scale all by 1 - ratio."""

    def __init__(self, ratio: float) -> None:
        super().__init__()
        self.ratio = ratio
        # As the fork rounds it: 1 / scale, with scale = 1 / (1 - ratio) in float32.
        self.factor = float(np.float32(1 / float(np.float32(1 / (1 - ratio)))))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Drop or scale."""
        return x * torch.empty_like(x).bernoulli_(1 - self.ratio) if self.training else x * self.factor


@register
class FastRCNNDropout(Dropout):
    """Dropout that scales in TEST instead of TRAIN with `scale_train: false`, as its authors first described it."""

    forks = ("fast-rcnn",)
    summary = "dropout; scaled in TEST instead of TRAIN with scale_train: false"
    origin = "src/caffe/layers/dropout_layer.cpp"
    evidence = Evidence.TESTS
    identity_in_test = False
    accounts = {"dropout_param": Account(read=("dropout_ratio", "scale_train"))}

    def fork_module(self, spec: LayerSpec) -> UnscaledDropout | None:
        scaled = spec.additions("dropout_param").scale_train
        return None if scaled else UnscaledDropout(spec.param.dropout_param.dropout_ratio)

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        module = self.fork_module(spec)
        return super().onnx(spec, onnx) if module is None else [onnx.node("Mul", onnx.bottoms[0], module.factor)]
