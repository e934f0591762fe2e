"""Images as SSD's fork changes them before the crop (resizing, noise, distortion of colours), and the crops it draws.

Facts from weiliu89/caffe (ssd), util/im_transforms.cpp, util/sampler.cpp and data_transformer.cpp. Images are (height,
width, channels) uint8, BGR; crops are random boxes, relative to the image and float32, that overlap its objects as
batch samplers demand. Random numbers come from :class:`Draw`, in the fork's order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from caffe_compat.data.c_random import CRand, Mersenne
from caffe_compat.layers.forks.boxes import Array, box, coverage, fitted, overlaps
from caffe_compat.schema import forks_pb2 as fb

Pixels = npt.NDArray[np.uint8]
_F = np.float32
_RANGE = _F(2**32)


class Draw:
    """The random numbers of a data layer's thread."""

    def __init__(self, rng: CRand) -> None:
        self.rng = Mersenne(rng.draw())

    def uniform(self, low: float, high: float) -> np.float32:
        """Return a float32 from `low` to `high`, as Boost's ``uniform_real`` draws it."""
        start, end = _F(low), np.nextafter(_F(high), _F(np.inf))
        while True:
            value = np.float32(_F(self.rng.draw()) / _RANGE * (end - start) + start)
            if value < end:
                return value

    def below(self, count: int) -> int:
        """Return a whole number from 0 to `count` - 1."""
        return self.rng.draw() % count

    def order(self, count: int) -> list[int]:
        """Return the numbers below `count` in a random order.

        The fork draws it from the C library, which all of a process shares: no run could be resumed exactly.
        """
        numbers = list(range(count))
        for i in range(1, count):
            j = self.below(i + 1)
            numbers[i], numbers[j] = numbers[j], numbers[i]
        return numbers


def _colour(image: npt.NDArray[Any], code: int) -> Pixels:
    import cv2

    return np.asarray(cv2.cvtColor(image, code), np.uint8)


def _with_channels(image: npt.NDArray[Any]) -> Pixels:
    """Return an image with an axis for its channels, which OpenCV drops where there is one."""
    return np.asarray(image.reshape(*image.shape[:2], -1), np.uint8)


def resize(image: Pixels, param: Any, draw: Draw) -> Pixels:
    """Return an image as a ResizeParameter makes it; of several ways to interpolate, one is drawn."""
    import cv2

    ways = [int(way) for way in param.interp_mode] or [fb.ResizeParameter.LINEAR]
    kinds: dict[int, int] = {
        fb.ResizeParameter.LINEAR: cv2.INTER_LINEAR,
        fb.ResizeParameter.AREA: cv2.INTER_AREA,
        fb.ResizeParameter.NEAREST: cv2.INTER_NEAREST,
        fb.ResizeParameter.CUBIC: cv2.INTER_CUBIC,
        fb.ResizeParameter.LANCZOS4: cv2.INTER_LANCZOS4,
    }
    kind = kinds[ways[_die(len(ways), draw)] if param.interp_mode else ways[0]]
    high, wide = new_size(image.shape[:2], param)
    inner_high, inner_wide = high, wide
    if param.resize_mode == fb.ResizeParameter.FIT_LARGE_SIZE_AND_PAD:
        aspect = _F(image.shape[1]) / _F(image.shape[0])
        if aspect > _F(wide) / _F(high):
            inner_high = int(_F(wide) / aspect)
        else:
            inner_wide = int(aspect * _F(high))
    out = _with_channels(cv2.resize(image, (inner_wide, inner_high), interpolation=kind))
    if (inner_high, inner_wide) == (high, wide):
        return out
    above, left = (high - inner_high) // 2, (wide - inner_wide) // 2
    modes: dict[int, int] = {
        fb.ResizeParameter.CONSTANT: cv2.BORDER_CONSTANT,
        fb.ResizeParameter.MIRRORED: cv2.BORDER_REFLECT_101,
        fb.ResizeParameter.REPEAT_NEAREST: cv2.BORDER_REPLICATE,
    }
    sides = above, high - inner_high - above, left, wide - inner_wide - left
    values = list(param.pad_value) * (3 if len(param.pad_value) == 1 else 1)
    return _with_channels(cv2.copyMakeBorder(out, *sides, modes[param.pad_mode], value=values or [0, 0, 0]))


def _die(count: int, draw: Draw) -> int:
    """Return a number below `count`: where a uniform number falls among the sums of equal probabilities."""
    sums = np.cumsum(np.full(count, _F(1) / _F(count), _F))
    return int(np.searchsorted(sums, draw.uniform(0, float(sums[-1]))).clip(0, count - 1))


def new_size(size: Sequence[int], param: Any) -> tuple[int, int]:
    """Return height and width of the image that a ResizeParameter makes of one of `size`."""
    if param.resize_mode != fb.ResizeParameter.FIT_SMALL_SIZE:
        return int(param.height), int(param.width)
    high, wide = fitted((size[0], size[1]), param)
    return int(high), int(wide)


def add_noise(image: Pixels, param: Any, draw: Draw) -> Pixels:
    """Return an image with the changes of a NoiseParameter, whose `prob` the fork does not read."""
    import cv2

    if param.decolorize:
        image = _colour(_colour(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    if param.gauss_blur:
        image = _with_channels(cv2.GaussianBlur(image, (7, 7), 1.5))
    if param.hist_eq:
        image = _on_brightness(image, cv2.equalizeHist)
    if param.clahe:
        image = _on_brightness(image, cv2.createCLAHE(clipLimit=4).apply)
    if param.jpeg > 0:
        _, content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(param.jpeg)])
        image = _with_channels(np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR)))
    if param.erode:
        image = _with_channels(cv2.erode(image, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3), (1, 1))))
    if param.posterize:
        image = image // np.uint8(64) * np.uint8(64) + np.uint8(32)
    if param.inverse:
        image = ~image
    if param.saltpepper:
        image = _salted(image, param.saltpepper_param, draw)
    return _colour(image, cv2.COLOR_BGR2HSV) if param.convert_to_hsv else image


def _on_brightness(image: Pixels, change: Any) -> Pixels:
    """Return an image whose brightness, the first channel of YCrCb, is changed."""
    import cv2

    if image.shape[2] == 1:
        return _with_channels(change(image))
    parts = _colour(image, cv2.COLOR_BGR2YCrCb)
    parts[..., 0] = change(np.ascontiguousarray(parts[..., 0]))
    return _colour(parts, cv2.COLOR_YCrCb2BGR)


def _salted(image: Pixels, param: Any, draw: Draw) -> Pixels:
    high, wide, channels = image.shape
    values = [int(value) & 255 for value in param.value]
    out = image.copy()
    for _ in range(int(_F(param.fraction) * _F(wide) * _F(high))):
        column, row = draw.below(wide), draw.below(high)
        out[row, column] = values * channels if len(values) == 1 else values
    return out


def distort(image: Pixels, param: Any, draw: Draw) -> Pixels:
    """Return an image with brightness, contrast, saturation, hue and channels changed at random."""

    def contrast(image: Pixels) -> Pixels:
        return _changed(image, param.contrast_prob, (param.contrast_lower, param.contrast_upper), draw, _scaled)

    early = draw.uniform(0, 1) > 0.5
    spread = param.brightness_delta
    image = _changed(image, param.brightness_prob, (-spread, spread), draw, _shifted)
    image = contrast(image) if early else image
    image = _changed(image, param.saturation_prob, (param.saturation_lower, param.saturation_upper), draw, _saturated)
    image = _changed(image, param.hue_prob, (-param.hue_delta, param.hue_delta), draw, _turned)
    image = image if early else contrast(image)
    return image[..., draw.order(3)] if draw.uniform(0, 1) < _F(param.random_order_prob) else image


def _changed(image: Pixels, probability: float, limits: tuple[float, float], draw: Draw, change: Any) -> Pixels:
    changed: Pixels = change(image, draw.uniform(*limits)) if draw.uniform(0, 1) < _F(probability) else image
    return changed


def _linear(values: Pixels, factor: np.float32, shift: np.float32) -> Pixels:
    """Return values times a factor plus a shift, rounded to even and cut off at 0 and 255."""
    table = np.rint(np.arange(256, dtype=_F) * factor + shift).clip(0, 255).astype(np.uint8)
    return np.asarray(table[values], np.uint8)


def _shifted(image: Pixels, delta: np.float32) -> Pixels:
    return _linear(image, _F(1), delta)


def _scaled(image: Pixels, factor: np.float32) -> Pixels:
    return _linear(image, factor, _F(0)) if abs(factor - 1) > 1e-3 else image


def _saturated(image: Pixels, factor: np.float32) -> Pixels:
    return _in_hsv(image, 1, factor, _F(0))


def _turned(image: Pixels, delta: np.float32) -> Pixels:
    return _in_hsv(image, 0, _F(1), delta) if delta else image


def _in_hsv(image: Pixels, channel: int, factor: np.float32, shift: np.float32) -> Pixels:
    import cv2

    parts = _colour(image, cv2.COLOR_BGR2HSV)
    parts[..., channel] = _linear(parts[..., channel], factor, shift)
    return _colour(parts, cv2.COLOR_HSV2BGR)


def sample_boxes(samplers: Sequence[Any], objects: Array, draw: Draw) -> list[Array]:
    """Return the boxes that BatchSamplers accept for an image with the objects (N, 4)."""
    accepted: list[Array] = []
    for sampler in samplers:
        count = 0
        for _ in range(sampler.max_trials if sampler.use_original_image else 0):
            if sampler.HasField("max_sample") and count >= sampler.max_sample:
                break
            sample = _sample(sampler.sampler, draw)
            if satisfies(sample, objects, sampler.sample_constraint):
                count += 1
                accepted.append(sample)
    return accepted


def _sample(sampler: Any, draw: Draw) -> Array:
    scale = draw.uniform(sampler.min_scale, sampler.max_scale)
    ratio = draw.uniform(sampler.min_aspect_ratio, sampler.max_aspect_ratio)
    square = float(scale) ** 2
    ratio = min(max(ratio, _F(square)), _F(1 / square))
    wide, high = scale * np.sqrt(ratio), scale / np.sqrt(ratio)
    left, top = (draw.uniform(0, max(float(_F(1) - side), 0.0)) for side in (wide, high))
    return box(left, top, left + wide, top + high)


def satisfies(sample: Array, objects: Array, constraint: Any) -> bool:
    """Tell whether one of the objects (N, 4) meets a SampleConstraint.

    Of several demands (jaccard_overlap, sample_coverage, object_coverage) the first one given decides: the fork
    remembers that it was met, and ignores the others.
    """
    for name in ("jaccard_overlap", "sample_coverage", "object_coverage"):
        if constraint.HasField(f"min_{name}") or constraint.HasField(f"max_{name}"):
            return any(_within(constraint, name, value) for value in _values(name, sample, objects))
    return True


def _values(name: str, sample: Array, objects: Array) -> Array:
    if name == "jaccard_overlap":
        return overlaps(sample[None], objects)
    if name == "object_coverage":
        return coverage(objects, sample)
    return np.array([coverage(sample[None], one)[0] for one in objects], _F)


def _within(constraint: Any, name: str, value: np.float32) -> bool:
    low, high = f"min_{name}", f"max_{name}"
    if constraint.HasField(low) and value < _F(getattr(constraint, low)):
        return False
    return not (constraint.HasField(high) and value > _F(getattr(constraint, high)))
