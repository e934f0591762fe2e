"""DetectionEvaluate: which detections are right, for the average precision that SSD's solver logs.

Facts from weiliu89/caffe (ssd), detection_evaluate_layer.cpp and util/bbox_util.cpp.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from caffe_compat.errors import CaffeCompatError, DataError
from caffe_compat.formats.files import read_bytes
from caffe_compat.layers.base import Account, Layer, LayerSpec, Shape, exactly, register
from caffe_compat.layers.facts import Evidence, Gradient
from caffe_compat.layers.forks.boxes import Array, Size, in_pixels, overlaps, pixel_overlaps
from caffe_compat.layers.forks.detection import background_label
from caffe_compat.layers.forks.std_sort import sorted_as_gcc
from caffe_compat.layers.labels import whole_numbers

_FIELD = "detection_evaluate_param"


@dataclass(frozen=True)
class EvaluationRules:
    """The settings of DetectionEvaluate; `sizes` are those of the images in pixels, none for boxes relative to them."""

    num_classes: int
    background: int
    threshold: float
    difficult: bool
    sizes: tuple[Size, ...]
    resize: Any | None

    @property
    def classes(self) -> list[int]:
        """The classes of objects."""
        return [label for label in range(self.num_classes) if label != self.background]


class DetectionEvaluateModule(nn.Module):
    """Rows of image, label, score, right, wrong; first one for each class with the number of its objects.

    `image` is the number of the next image in the list of sizes.
    """

    def __init__(self, rules: EvaluationRules) -> None:
        super().__init__()
        self.rules, self.image = rules, 0

    def go_on_from(self, other: DetectionEvaluateModule) -> None:
        """Go on where another module of the layer stopped."""
        self.image = other.image

    def forward(self, detections: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """Compare (1, 1, K, 7) detections with (1, 1, R, 8) ground truth; return (1, 1, rows, 5)."""
        detected, objects = (
            x.detach().float().cpu().numpy().copy() for x in (detections.reshape(-1, 7), truth.reshape(-1, 8))
        )
        ends = np.flatnonzero(np.trunc(objects[:, 0]) == -1)
        objects = objects[: ends[0]] if ends.size else objects
        height = len(self.rules.classes) + int((detected[:, 1] != -1).sum())
        detected = detected[np.trunc(detected[:, 0]) != -1]
        for rows in (detected, objects):
            rows[:, :2] = whole_numbers(rows[:, :2], "image, label")
            if (rows[:, 1] == self.rules.background).any():
                problem = "a detection or an object has the label of the background"
                raise DataError(problem, code="invalid", value=self.rules.background)
        rows = np.zeros((height, 5), np.float32)
        results = np.array([*self._objects(objects), *self._detections(detected, objects)], np.float32).reshape(-1, 5)
        rows[: len(results)] = results
        return torch.from_numpy(rows).to(detections)[None, None]

    def _objects(self, objects: Array) -> Iterator[Sequence[float]]:
        counted = self.rules.difficult | (objects[:, 7] == 0)
        for label in self.rules.classes:
            yield -1, label, ((objects[:, 1] == label) & counted).sum(), -1, -1

    def _detections(self, rows: Array, objects: Array) -> Iterator[Sequence[float]]:
        """Yield the rows of detections by image, label and score."""
        for image in np.unique(rows[:, 0]).tolist():
            of_image = rows[rows[:, 0] == image]
            in_image = objects[objects[:, 0] == image]
            labels = of_image[:, 1]
            for label in np.unique(labels[labels != -1]).tolist():
                mine, theirs = of_image[labels == label], in_image[in_image[:, 1] == label]
                if not len(theirs):
                    yield from ((image, label, score, 0, 1) for score in mine[:, 2])
                else:
                    mine = mine[sorted_as_gcc(-mine[:, 2])]
                    for score, marks in zip(mine[:, 2], self._compare(mine[:, 3:7], theirs), strict=True):
                        yield image, label, score, *marks
            if self.rules.sizes:
                self.image = (self.image + 1) % len(self.rules.sizes)

    def _compare(self, boxes: Array, objects: Array) -> Iterator[tuple[int, int]]:
        """Yield whether each box, best first, is right and whether it is wrong: neither if the object is difficult."""
        if self.rules.sizes:
            size, resize = self.rules.sizes[self.image], self.rules.resize
            table = pixel_overlaps(*in_pixels(boxes, size, resize), *in_pixels(objects[:, 3:7], size, resize))
        else:
            table = overlaps(boxes[:, None], objects[None, :, 3:7])
        taken = np.zeros(len(objects), bool)
        for row in table:
            nearest = int(row.argmax())
            if row[nearest] < np.float32(self.rules.threshold):
                yield 0, 1
            elif objects[nearest, 7] and not self.rules.difficult:
                yield 0, 0
            else:
                yield (0, 1) if taken[nearest] else (1, 0)
                taken[nearest] = True


@register
class DetectionEvaluate(Layer):
    """Detections compared with the ground truth."""

    type = "DetectionEvaluate"
    forks = ("ssd",)
    summary = "rates detections; rows for the solver's average precision"
    origin = "src/caffe/layers/detection_evaluate_layer.cpp"
    evidence = Evidence.RECORDED
    gradient = Gradient.REFUSED
    no_gradient = (0, 1)
    is_result = True
    open_axis = 2
    bottoms = exactly(2)
    inference = False
    accounts = {
        _FIELD: Account(
            read=(
                *("num_classes", "background_label_id", "overlap_threshold", "evaluate_difficult_gt"),
                *("name_size_file", "resize_param"),
            )
        )
    }

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        message = spec.message(_FIELD)
        if message.num_classes < 1:
            yield spec.fault("must be given and positive", f"{_FIELD}.num_classes")
        elif background_label(spec, _FIELD) >= message.num_classes:
            yield spec.fault("must be a class, or -1 as an int", f"{_FIELD}.background_label_id")
        if message.overlap_threshold <= 0:
            yield spec.fault("must be positive", f"{_FIELD}.overlap_threshold")
        resize = message.resize_param
        if message.HasField("resize_param") and not (resize.height and resize.width):
            yield spec.error("needs height and width", f"{_FIELD}.resize_param", code="field-missing")
        for shape, columns in zip(spec.bottoms, (7, 8), strict=True):
            if len(shape) != 4 or shape[:2] != (1, 1) or shape[3] != columns:
                yield spec.misfit("needs detections (1, 1, K, 7) and ground truth (1, 1, R, 8)", spec.bottoms)
                return
        try:
            self._sizes(spec)
        except CaffeCompatError as error:
            yield spec.fault(error.problem, f"{_FIELD}.name_size_file", code=error.code)

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        classes = spec.message(_FIELD).num_classes
        return ((1, 1, classes - (0 <= background_label(spec, _FIELD) < classes) + spec.bottoms[0][2], 5),)

    def module(self, spec: LayerSpec) -> nn.Module:
        message = spec.message(_FIELD)
        return DetectionEvaluateModule(
            EvaluationRules(
                num_classes=message.num_classes,
                background=background_label(spec, _FIELD),
                threshold=message.overlap_threshold,
                difficult=message.evaluate_difficult_gt,
                sizes=self._sizes(spec),
                resize=message.resize_param if message.HasField("resize_param") else None,
            )
        )

    def _sizes(self, spec: LayerSpec) -> tuple[Size, ...]:
        """Read the images' heights and widths."""
        name = spec.message(_FIELD).name_size_file
        if not name:
            return ()
        path = spec.file(name)
        words = read_bytes(path).decode(errors="surrogateescape").split()
        sides = [*words[1::3], *words[2::3]]
        if len(words) % 3 or not all(word.isdecimal() for word in sides):
            raise DataError("expected lines of an image's name, height and width", code="syntax", file=path)
        return tuple((int(high), int(wide)) for high, wide in zip(words[1::3], words[2::3], strict=True))
