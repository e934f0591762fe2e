"""Boxes as SSD counts with them: corners (xmin, ymin, xmax, ymax) along the last axis, sizes of images taken as 1.

They are written relative to prior boxes, and moved between frames of reference: clipped, cut out with a crop, scaled to
pixels, resized with an image. Facts from weiliu89/caffe (ssd), util/bbox_util.cpp. Between frames all arrays are
float32, boxes (N, 4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError
from caffe_compat.schema import forks_pb2 as fb

Array = npt.NDArray[np.floating]
_CODES = fb.PriorBoxParameter


def area(boxes: Array) -> Array:
    """Return the areas (...) of boxes (..., 4); 0 where a box ends before it starts."""
    sides = boxes[..., 2:] - boxes[..., :2]
    return np.asarray(np.where((sides < 0).any(-1), 0, sides.prod(-1)), boxes.dtype)


def shared_area(a: Array, b: Array) -> Array:
    """Return the areas that boxes have in common; 0 where they only touch. The leading axes are broadcast."""
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    return np.asarray(np.where((sides > 0).all(-1), sides.prod(-1), 0), sides.dtype)


def overlaps(a: Array, b: Array) -> Array:
    """Return the intersection over union of boxes; the leading axes are broadcast."""
    shared = shared_area(a, b)
    union = area(a) + area(b) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)


def rounded(function: Callable[[Array], Array], x: Array) -> Array:
    """Return a function of values rounded once, as a C library does it: NumPy's own loops differ between processors."""
    return function(x.astype(np.float64)).astype(x.dtype)


@dataclass(frozen=True)
class BoxCode:
    """The code of a box relative to its prior box; `kind` is PriorBoxParameter's CORNER, CENTER_SIZE or CORNER_SIZE."""

    kind: int
    plain: bool
    """The variances are left out of the code (variance_encoded_in_target, encode_variance_in_target)."""

    def decode(self, code: Array, priors: Array, variances: Array) -> Array:
        """Return the boxes (..., 4) of codes; refuse a prior box without area where its size matters."""
        moved = code if self.plain else code * variances
        if self.kind == _CODES.CORNER:
            return np.asarray(priors + moved)
        size = self._sizes(priors, "prior box")
        if self.kind == _CODES.CORNER_SIZE:
            return np.asarray(priors + moved * np.concatenate([size, size], -1))
        centre = moved[..., :2] * size + _centres(priors)
        half = rounded(np.exp, moved[..., 2:]) * size / 2
        return np.concatenate([centre - half, centre + half], -1)

    def encode(self, boxes: Array, priors: Array, variances: Array) -> Array:
        """Return the codes of boxes (..., 4); refuse boxes without area where sizes matter, and bad variances."""
        code = boxes - priors
        if self.kind != _CODES.CORNER:
            size = self._sizes(priors, "prior box")
            code /= np.concatenate([size, size], -1)
        if self.kind == _CODES.CENTER_SIZE:
            code[..., :2] = (_centres(boxes) - _centres(priors)) / size
            code[..., 2:] = rounded(np.log, self._sizes(boxes, "ground truth box") / size)
        if self.plain:
            return code
        if self.kind != _CODES.CENTER_SIZE:
            check_variances(variances)
        return np.asarray(code / variances)

    def _sizes(self, boxes: Array, what: str) -> Array:
        size = boxes[..., 2:] - boxes[..., :2]
        if not (size > 0).all():
            raise DataError(f"a {what} has no area", code="invalid", value=boxes[~(size > 0).all(-1)][0].tolist())
        return size


def _centres(boxes: Array) -> Array:
    return np.asarray((boxes[..., :2] + boxes[..., 2:]) / 2)


def check_variances(variances: Array) -> None:
    """Refuse variances to divide by that are not positive."""
    if not (variances > 0).all():
        raise DataError("a variance of a prior box is not positive", code="invalid", value=float(variances.min()))


_F = np.float32
Size = tuple[int, int]
"""Height and width in pixels."""


def box(
    xmin: float | np.float32, ymin: float | np.float32, xmax: float | np.float32, ymax: float | np.float32
) -> Array:
    """Return one box."""
    return np.array([xmin, ymin, xmax, ymax], _F)


def clip(boxes: Array, high: float = 1, wide: float = 1) -> Array:
    """Return boxes cut off at the borders of an image."""
    return np.clip(boxes, _F(0), np.array([wide, high, wide, high], _F))


def scale(boxes: Array, high: float, wide: float) -> Array:
    """Return boxes with coordinates multiplied by the sides of an image."""
    return boxes * np.array([wide, high, wide, high], _F)


def meets(source: Array, boxes: Array) -> npt.NDArray[np.bool_]:
    """Return which boxes have more than a border in common with `source`."""
    return np.asarray(((boxes[:, :2] < source[2:]) & (boxes[:, 2:] > source[:2])).all(1))


def _relative(source: Array, boxes: Array) -> Array:
    corner, side = np.tile(source[:2], 2), np.tile(source[2:] - source[:2], 2)
    return clip((boxes - corner) / side)


def project(source: Array, boxes: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Return boxes relative to `source`, cut off at its borders, and which of them remain."""
    out = _relative(source, boxes)
    return out, meets(source, boxes) & (area(out) > 0)


def in_pixels(boxes: Array, size: Size, resize: Any | None) -> tuple[Array, Array]:
    """Return boxes of a resized image in the pixels of the image before, and their areas with both ends."""
    high, wide = size
    if resize is None or resize.resize_mode == fb.ResizeParameter.WARP:
        return _to_pixels(clip(boxes), high, wide)
    if resize.resize_mode == fb.ResizeParameter.FIT_LARGE_SIZE_AND_PAD:
        source = padded_frame(size, resize)
        moved = np.where(meets(source, boxes)[:, None], _relative(source, boxes), boxes)
        return _to_pixels(clip(moved), high, wide)
    if not (resize.height_scale and resize.width_scale):
        return _to_pixels(clip(boxes), high, wide)
    out = clip(scale(boxes, resize.height_scale, resize.width_scale), high, wide)
    return out, area(out)


def padded_frame(size: Size, resize: Any) -> Array:
    """Return the place of an image in the one that FIT_LARGE_SIZE_AND_PAD makes of it."""
    high, wide, aspect = _F(resize.height), _F(resize.width), _F(size[1]) / _F(size[0])
    if aspect > wide / high:
        pad = (high - wide / aspect) / 2 / high
        return box(0, pad, 1, 1 - pad)
    pad = (wide - high * aspect) / 2 / wide
    return box(pad, 0, 1 - pad, 1)


def _to_pixels(boxes: Array, high: int, wide: int) -> tuple[Array, Array]:
    out = scale(boxes, high, wide)
    return out, pixel_area(out) if high > 1 or wide > 1 else area(out)


def pixel_area(boxes: Array) -> Array:
    """Return the areas of boxes in pixels, both ends included; 0 where a box ends before it starts."""
    sides = boxes[..., 2:] - boxes[..., :2]
    return np.asarray(np.where((sides < 0).any(-1), 0, (sides + 1).prod(-1)), boxes.dtype)


def pixel_overlaps(boxes: Array, areas: Array, others: Array, other_areas: Array) -> Array:
    """Return the overlaps (N, M) of boxes in pixels; of boxes that do not meet, as if they shared one pixel."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    sides = np.minimum(boxes[:, None, 2:], others[None, :, 2:]) - low
    sides = np.where((sides < 0).any(-1, keepdims=True), _F(0), sides) + _F(1)
    shared = sides.prod(-1)
    return np.asarray(shared / (areas[:, None] + other_areas[None] - shared))


def resized(boxes: Array, size: Size, resize: Any) -> Array:
    """Return boxes of an image of this size as boxes of the image that a ResizeParameter makes of it."""
    old_high, old_wide = _F(size[0]), _F(size[1])
    high, wide, aspect = _F(resize.height), _F(resize.width), old_wide / old_high
    pad_x = pad_y = _F(0)
    if resize.resize_mode == fb.ResizeParameter.FIT_LARGE_SIZE_AND_PAD:
        if aspect > wide / high:
            pad_y = (high - wide / aspect) / 2
        else:
            pad_x = (wide - aspect * high) / 2
    elif resize.resize_mode == fb.ResizeParameter.FIT_SMALL_SIZE:
        high, wide = fitted(size, resize)
    out = np.empty_like(boxes)
    for first, pad, new, old in ((0, pad_x, wide, old_wide), (1, pad_y, high, old_high)):
        at = boxes[:, first::2] * old * (new - 2 * pad) / old
        out[:, first] = (pad + np.maximum(_F(0), at[:, 0])) / new
        out[:, first + 2] = (pad + np.minimum(new, at[:, 1])) / new
    return out


def fitted(size: Size, resize: Any) -> tuple[np.float32, np.float32]:
    """Return height and width of an image whose shorter side FIT_SMALL_SIZE fits, before they are cut to pixels."""
    high, wide, aspect = _F(resize.height), _F(resize.width), _F(size[1]) / _F(size[0])
    return (wide / aspect, wide) if aspect < wide / high else (high, aspect * high)


def extrapolate(boxes: Array, size: Size, resize: Any, crop: Array) -> Array:
    """Return boxes of a crop in units of height_scale and width_scale, where FIT_SMALL_SIZE has them."""
    scales = resize.height_scale, resize.width_scale
    if resize.resize_mode != fb.ResizeParameter.FIT_SMALL_SIZE or not all(scales):
        return boxes
    high, wide = fitted(size, resize)
    return scale(boxes, high * (crop[3] - crop[1]) / _F(scales[0]), wide * (crop[2] - crop[0]) / _F(scales[1]))


def coverage(boxes: Array, source: Array, areas: Array | None = None) -> Array:
    """Return the part of each box within `source`; `areas` are those to divide by, if not the boxes' own."""
    shared = shared_area(boxes, source)
    return np.divide(shared, area(boxes) if areas is None else areas, out=np.zeros_like(shared), where=shared > 0)
