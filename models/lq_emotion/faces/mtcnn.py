"""Detect faces and five landmarks with MTCNN, as published.

K. Zhang, Z. Zhang, Z. Li and Y. Qiao, "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional
Networks", IEEE Signal Processing Letters 23 (2016), with the steps and constants of the authors' MATLAB program: P-Net
proposes boxes in an image pyramid, R-Net refines them, O-Net refines them again and finds the landmarks.

Two traps. The nets were trained on what MATLAB handed Caffe, images with x as the first spatial axis: here each image
is transposed once, and everything that the nets see is (x, y). And boxes count pixels from 1, with the last one
included, until they become faces.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import torch

from caffe_compat import CaffeNet
from caffe_compat.errors import DataError
from lq_emotion.faces.face import Face, Image, require_images, suppress

Doubles = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Integers = npt.NDArray[np.intp]
Pixels = TypeVar("Pixels", Image, Singles)
Pixmap = npt.NDArray[Any]
"""An image of bytes, or the numbers that `_normalised` returns for it."""

_NETS = ("det1", "det2", "det3")
_FIELD = 12  # pixels: side of what one answer of P-Net sees
_STRIDE = 2  # pixels between two answers
_BATCH = 256  # crops in one pass
_REACH = 10  # pixels beyond those of its first answer that P-Net's next answers share: `_FIELD` less `_STRIDE`
_LARGE = 1 << 24  # pixels of an image whose pyramid is built in bytes: real numbers take four times as much
_LEVEL = 1 << 21  # pixels of a level that P-Net sees at once
_STRIP = 1 << 20  # pixels of the strips of a larger one
_HALVED = 0.75  # a level is reduced from a halved image to at most so much of that


@dataclass(frozen=True)
class _Candidates:
    """Boxes that may be faces, n of them."""

    image: Integers
    """(n,) index of the image."""
    boxes: Doubles
    """(n, 4): left, top, right, bottom in pixels from 1, right and bottom included."""
    scores: Singles
    offsets: Singles
    """(n, 4), by which the net would move the edges, as parts of the box's sides."""
    points: Singles
    """(n, 10): x of the five landmarks, then y, as parts of the box's sides; (n, 0) before O-Net."""

    def __len__(self) -> int:
        return len(self.image)

    def take(self, index: npt.NDArray[np.bool_] | Integers) -> _Candidates:
        return _Candidates(*(values[index] for values in vars(self).values()))

    def suppressed(self, threshold: float, *, of_smaller: bool = False) -> _Candidates:
        """Drop what overlaps a better candidate of the same image."""
        survivors = [np.zeros(0, np.intp)]
        for image in np.unique(self.image):
            index = np.flatnonzero(self.image == image)
            survivors.append(index[suppress(self.boxes[index], self.scores[index], threshold, of_smaller=of_smaller)])
        return self.take(np.concatenate(survivors))


class Mtcnn:
    """MTCNN, a `FaceDetector`, from the published P-Net, R-Net and O-Net as "det1", "det2" and "det3".

    `smallest` is the side of the smallest face in pixels; P-Net's time falls with its square. `factor` leads from one
    level of the pyramid to the next; `thresholds` are the scores that a candidate needs after each net.

    Images are reduced by averaging areas and enlarged bilinearly; pixels outside an image are black. The authors'
    program filters similarly. To save time, small levels of the pyramid are reduced from a halved image. The choice of
    the filter alone moves a box by up to some hundredths of its side.

    Memory is bounded: P-Net sees large levels strip by strip, with the same answers, and the pyramid of an image of
    more than 16 megapixels is rounded to bytes.
    """

    def __init__(
        self,
        nets: Mapping[str, CaffeNet],
        *,
        smallest: float = 20,
        factor: float = 0.709,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7),
    ) -> None:
        missing = [name for name in _NETS if name not in nets]
        if missing:
            raise DataError(
                f"MTCNN has the nets {', '.join(_NETS)}; missing: {', '.join(missing)}", code="field-missing",
                field="nets", value=sorted(nets),
            )  # fmt: skip
        if not 1 <= smallest < math.inf:
            raise DataError("expected a side in pixels", code="out-of-range", field="smallest", value=smallest)
        if not 0 < factor < 1:
            raise DataError("expected a factor between 0 and 1", code="out-of-range", field="factor", value=factor)
        if not all(0 < threshold < 1 for threshold in thresholds):
            raise DataError(
                "expected three scores between 0 and 1", code="out-of-range", field="thresholds", value=thresholds
            )
        self._nets, self._smallest, self._factor, self._thresholds = dict(nets), smallest, factor, thresholds
        self._levels: list[CaffeNet] = []  # a copy of P-Net for each level: a net keeps programs for few sizes only

    def __call__(self, images: Sequence[Image]) -> list[list[Face]]:
        """Return the faces of each image; see `FaceDetector`."""
        require_images(images)
        turned = [np.asarray(cv2.transpose(image), np.uint8) for image in images]
        with torch.inference_mode():
            candidates = self._propose(turned)
            candidates = self._refine(turned, candidates)
            candidates = self._finish(turned, candidates)
        faces: list[list[Face]] = [[] for _ in images]
        for position in np.argsort(-candidates.scores, kind="stable"):
            left, top, right, bottom = candidates.boxes[position].tolist()
            x, y = candidates.points[position].reshape(2, 5).tolist()
            eye, other_eye, nose, mouth, other_mouth = zip(x, y, strict=True)
            box, score = (left - 1, top - 1, right - left + 1, bottom - top + 1), float(candidates.scores[position])
            landmarks = (eye, other_eye, nose, mouth, other_mouth)
            faces[candidates.image[position]].append(Face(*box, score, landmarks))
        return faces

    def _propose(self, turned: Sequence[Image]) -> _Candidates:
        """Let P-Net propose boxes at every scale of every image; return them square."""
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, image in enumerate(turned):
            groups.setdefault(image.shape, []).append(index)
        proposals = [_NONE]
        for indices in groups.values():
            group = [turned[index] for index in indices]
            large = group[0].shape[0] * group[0].shape[1] > _LARGE
            pyramid = self._pyramid(group if large else [_normalised(image) for image in group])
            for level, (scale, images) in enumerate(pyramid):
                part = self._propose_at(level, scale, images).suppressed(0.5)
                proposals.append(replace(part, image=np.array(indices)[part.image]))
        parts = zip(*(vars(part).values() for part in proposals), strict=True)
        candidates = _Candidates(*(np.concatenate(values) for values in parts)).suppressed(0.7)
        return _squared(candidates, _moved(candidates, pixel=0))

    def _pyramid(self, images: Sequence[Pixmap]) -> Iterator[tuple[float, Sequence[Pixmap]]]:
        """Yield each scale and the images, all of one size, at that scale."""
        columns, rows = images[0].shape[1::-1]
        scale, halved = _FIELD / self._smallest, 1
        while min(columns, rows) * scale >= _FIELD:
            while scale * 2 * halved <= _HALVED and columns % (2 * halved) == rows % (2 * halved) == 0:
                halved *= 2
                images = [_resize(image, (columns // halved, rows // halved)) for image in images]
            size = (math.ceil(columns * scale), math.ceil(rows * scale))
            yield scale, [_resize(image, size) for image in images]
            scale *= self._factor

    def _propose_at(self, level: int, scale: float, images: Sequence[Pixmap]) -> _Candidates:
        """Let P-Net propose boxes in images of one size."""
        if level == len(self._levels):
            self._levels.append(copy.deepcopy(self._nets["det1"]))
        large = sum(image.shape[0] * image.shape[1] for image in images) > _LEVEL
        answers = _run_in_strips(self._nets["det1"] if large else self._levels[level], images, large=large)
        scores = answers["prob1"][:, 1].transpose(0, 2, 1)  # (N, y, x), searched row by row as in MATLAB
        image, y, x = np.nonzero(scores >= self._thresholds[0])
        corner = _STRIDE * np.stack([x, y], axis=1)
        boxes = np.trunc(np.concatenate([corner + 1, corner + _FIELD], axis=1) / scale)
        offsets = answers["conv4-2"][image, :, x, y]
        return _Candidates(image, boxes, scores[image, y, x], offsets, np.zeros((len(image), 0), np.float32))

    def _refine(self, turned: Sequence[Image], candidates: _Candidates) -> _Candidates:
        """Let R-Net judge and move the candidates; return them square."""
        answers = self._judge("det2", turned, candidates, 24)
        scores, offsets = answers["prob1"][:, 1], answers["conv5-2"]
        judged = replace(candidates, scores=scores, offsets=offsets)
        judged = judged.take(scores > self._thresholds[1]).suppressed(0.7)
        return _squared(judged, _moved(judged))

    def _finish(self, turned: Sequence[Image], candidates: _Candidates) -> _Candidates:
        """Let O-Net judge and move the candidates; return them with landmarks, in pixels of the image from 0."""
        answers = self._judge("det3", turned, candidates, 48)
        scores, offsets, points = answers["prob1"][:, 1], answers["conv6-2"], answers["conv6-3"]
        judged = replace(candidates, scores=scores, offsets=offsets, points=points).take(scores > self._thresholds[2])
        sides = judged.boxes[:, 2:] - judged.boxes[:, :2] + 1
        points = judged.points * np.repeat(sides, 5, axis=1) + np.repeat(judged.boxes[:, :2], 5, axis=1) - 1
        moved = replace(judged, boxes=_moved(judged), points=points.astype(np.float32))
        return moved.suppressed(0.7, of_smaller=True)

    def _judge(self, name: str, turned: Sequence[Image], candidates: _Candidates, side: int) -> dict[str, Singles]:
        """Return the outputs of a net by blob, for candidates that are cut out and resized to (n, side, side, 3)."""
        crops = np.empty((len(candidates), side, side, 3), np.uint8)
        corners = candidates.boxes.astype(int).tolist()
        for crop, index, (left, top, right, bottom) in zip(crops, candidates.image.tolist(), corners, strict=True):
            image = turned[index]
            width, height = image.shape[:2]
            part = image[max(left - 1, 0) : right, max(top - 1, 0) : bottom]
            if left < 1 or top < 1 or right > width or bottom > height:
                part = cv2.copyMakeBorder(
                    part, max(1 - left, 0), max(right - width, 0), max(1 - top, 0), max(bottom - height, 0),
                    cv2.BORDER_CONSTANT, value=(0, 0, 0),
                )  # fmt: skip
            _resize(part, (side, side), crop)
        net = self._nets[name]
        starts = range(0, max(1, len(crops)), _BATCH)
        parts = [_run(net, _normalised(crops[start : start + _BATCH])) for start in starts]
        return {blob: np.concatenate([part[blob] for part in parts]) for blob in parts[0]}


_FLOATS = np.zeros((0, 4), np.float32)
_NONE = _Candidates(np.zeros(0, np.intp), np.zeros((0, 4)), _FLOATS[:, 0], _FLOATS, _FLOATS[:, :0])


def _resize(image: Pixels, size: tuple[int, int], into: Pixels | None = None) -> Pixels:
    """Resize to (columns, rows)."""
    shrinks = size[0] <= image.shape[1] and size[1] <= image.shape[0]
    return cv2.resize(image, size, into, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)  # type: ignore[return-value]


def _normalised(image: Pixmap) -> Singles:
    """Bring bytes to what the nets were trained on, from -1 to 1; leave what has been brought there."""
    if image.dtype != np.uint8:
        return image
    x = image.astype(np.float32)
    x -= 127.5
    x *= 0.0078125
    return x


def _run(net: CaffeNet, images: Singles) -> dict[str, Singles]:
    """Return the outputs, by blob, for images (N, rows, columns, channels), computed where the net's weights are."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    return {blob: value.cpu().numpy() for blob, value in net(x.to(next(net.parameters()).device)).items()}


def _run_in_strips(net: CaffeNet, images: Sequence[Pixmap], *, large: bool) -> dict[str, Singles]:
    """Return P-Net's outputs for images of one size; strips begin at even rows, where its pooling does."""
    rows, columns = images[0].shape[:2]
    step = max(_STRIDE, _STRIP // (len(images) * columns) // _STRIDE * _STRIDE) if large else rows
    starts = range(0, max(1, rows - _REACH), step)
    parts = []
    for start in starts:
        strips = [image[start : start + step + _REACH] for image in images]
        parts.append(_run(net, np.stack([_normalised(strip) for strip in strips])))
    return {blob: np.concatenate([part[blob] for part in parts], axis=2) for blob in parts[0]}


def _moved(candidates: _Candidates, pixel: int = 1) -> Doubles:
    """Return the boxes with their edges moved by the offsets; the authors count the last pixel after P-Net only."""
    sides = candidates.boxes[:, 2:] - candidates.boxes[:, :2] + pixel
    return np.asarray(candidates.boxes + candidates.offsets * np.tile(sides, 2))


def _squared(candidates: _Candidates, boxes: Doubles) -> _Candidates:
    """Grow boxes to squares with the same centre, then drop fractions of pixels."""
    sides = boxes[:, 2:] - boxes[:, :2]
    longer = sides.max(axis=1, keepdims=True)
    corner = boxes[:, :2] + sides / 2 - longer / 2
    return replace(candidates, boxes=np.trunc(np.concatenate([corner, corner + longer], axis=1)))
