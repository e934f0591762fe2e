"""SegAccuracy of DeepLab and PSPNet, and the data layers that pair images with maps of labels."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from google.protobuf.message import Message
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import Account, Arity, Layer, LayerSpec, Shape, exactly, register
from caffe_compat.layers.data import Fed
from caffe_compat.layers.facts import Evidence, Gradient
from caffe_compat.layers.labels import indices


class SegAccuracyModule(nn.Module):
    """Accuracy, mean recall of the classes seen, and mean intersection over union, of a confusion matrix.

    Of equal scores the highest class counts. A class that neither occurs nor is predicted has an intersection over
    union of 1, as in the fork.
    """

    def __init__(self, classes: int, ignored: frozenset[int], reset: bool) -> None:
        super().__init__()
        self.classes, self.ignored, self.reset = classes, ignored, reset
        self.counts: torch.Tensor | None = None

    @torch.no_grad()
    def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Return (1, 1, 1, 3) of (N, C, H, W) scores and (N, 1, H, W) labels."""
        best = self.classes - 1 - x.flip(1).argmax(1).flatten()
        true = label.flatten().trunc()
        keep = torch.ones_like(true, dtype=torch.bool)
        for value in self.ignored:
            keep &= true != value
        true, best = indices(true[keep], self.classes, "label", "or give ignore_label"), best[keep]
        counts = torch.bincount(true * self.classes + best, minlength=self.classes**2).view(self.classes, -1).double()
        if not self.reset and self.counts is not None:
            counts = counts + self.counts.to(counts.device)
        self.counts = counts
        return self._scores(counts).to(x.dtype).view(1, 1, 1, 3)

    def _scores(self, counts: torch.Tensor) -> torch.Tensor:
        right, rows, columns = counts.diag(), counts.sum(1), counts.sum(0)
        union = rows + columns - right
        recall = right / rows.clamp(min=1)
        jaccard = torch.where(right == union, 1, right / union.clamp(min=1))
        mean_recall = recall.sum() / (rows > 0).sum().clamp(min=1)
        return torch.stack([right.sum() / counts.sum().clamp(min=1), mean_recall, jaccard.mean()])


@register
class SegAccuracy(Layer):
    """Scores of a segmentation."""

    type = "SegAccuracy"
    forks = ("pspnet", "deeplab")
    summary = "accuracy, mean recall and mean intersection over union of pixels"
    origin = "src/caffe/layers/seg_accuracy_layer.cpp"
    evidence = Evidence.RECORDED
    gradient = Gradient.REFUSED
    no_gradient = (0, 1)
    is_result = True
    inference = False
    bottoms = exactly(2)
    accounts = {
        "seg_accuracy_param": Account(
            read=("ignore_label", "reset"), ignored={"metric": "the fork reports all of them"}
        )
    }

    def whole_number_bottoms(self, count: int) -> tuple[int, ...]:
        return (1,)

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        x, label = spec.bottoms
        if len(x) != 4 or label != (x[0], 1, *x[2:]):
            yield spec.misfit("needs scores (N, C, H, W) and labels (N, 1, H, W)", spec.bottoms)

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        return ((1, 1, 1, 3),)

    def module(self, spec: LayerSpec) -> nn.Module:
        message = spec.message("seg_accuracy_param")
        return SegAccuracyModule(spec.bottoms[0][1], frozenset(message.ignore_label), message.reset)


_COLOUR = dict.fromkeys(("force_color", "force_gray"), "the fork reads is_color")
_MOVED = "Caffe reads transform_param's {}; write it there"


@register
class DenseImageData(Fed):
    """Batches of images and of the maps of their labels."""

    type = "DenseImageData"
    forks = ("segnet",)
    summary = "batches of images and maps of labels, from a list"
    origin = "src/caffe/layers/dense_image_data_layer.cpp"
    evidence = Evidence.TESTS
    tops = exactly(2)
    accounts = {
        "dense_image_data_param": Account(
            read=(
                *("source", "batch_size", "rand_skip", "shuffle", "new_height", "new_width", "is_color", "root_folder"),
                *("mirror", "crop_height", "crop_width"),
            ),
            rejected={"mean_file": _MOVED.format("mean_file")},
        ),
        "transform_param": Account(
            read=("scale", "mean_file", "mean_value"),
            ignored=_COLOUR,
            rejected=dict.fromkeys(("mirror", "crop_size"), "the fork ends; write it in dense_image_data_param"),
        ),
    }

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        message = spec.message("dense_image_data_param")
        yield from _both(spec, message, "dense_image_data_param", "new_height", "new_width")
        yield from _both(spec, message, "dense_image_data_param", "crop_height", "crop_width")


@register
class ImageSegData(Fed):
    """Batches of images, of the maps of their labels, and of their sizes."""

    type = "ImageSegData"
    forks = ("pspnet", "deeplab")
    summary = "batches of images and maps of labels, from a list; third top: sizes"
    origin = "src/caffe/layers/image_seg_data_layer.cpp"
    evidence = Evidence.TESTS
    tops = Arity(2, 3)
    accounts = {
        "image_data_param": Account(
            read=(
                *("source", "batch_size", "rand_skip", "shuffle", "new_height", "new_width", "is_color", "root_folder"),
                *("label_type", "ignore_label"),
            ),
            rejected={name: _MOVED.format(name) for name in ("scale", "mean_file", "crop_size", "mirror")},
        ),
        "transform_param": Account(
            read=("scale", "mirror", "crop_size", "mean_value", "scale_factors", "crop_width", "crop_height"),
            ignored=_COLOUR,
            rejected={"mean_file": "the fork ends; give mean_value"},
        ),
    }

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        plain, added = spec.param.transform_param, spec.additions("transform_param")
        yield from _both(spec, spec.param.image_data_param, "image_data_param", "new_height", "new_width")
        yield from _both(spec, added, "transform_param", "crop_height", "crop_width")
        if plain.HasField("crop_size") and (added.HasField("crop_height") or added.HasField("crop_width")):
            yield spec.fault("conflicts with crop_height and crop_width", "transform_param.crop_size", code="conflict")
        if added.scale_factors and not (plain.crop_size or added.crop_height):
            problem = "needs crop_size, or crop_height and crop_width"
            yield spec.fault(problem, "transform_param.scale_factors", code="field-missing")


def _both(spec: LayerSpec, message: Message, name: str, high: str, wide: str) -> Iterator[CaffeCompatError]:
    """Yield an error if one side of a size is given without the other."""
    if bool(getattr(message, high)) != bool(getattr(message, wide)):
        field = high if getattr(message, high) else wide
        yield spec.fault("set without the other side", f"{name}.{field}", code="field-missing")
