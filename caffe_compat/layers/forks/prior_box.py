"""PriorBox: the boxes that SSD's predictions are corrections of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import Account, Layer, LayerSpec, Shape, count, exactly, register
from caffe_compat.layers.facts import Evidence, Gradient, OnnxWriter

_SAME = 1e-6  # ratios that differ by less are equal
_F = np.float32


@dataclass(frozen=True)
class Priors:
    """The settings of PriorBox."""

    sizes: tuple[tuple[float, float], ...]
    """(width, height) of the boxes at each cell, in pixels, in the fork's order."""
    variance: tuple[float, ...]
    clip: bool
    offset: float
    image: tuple[int, int] | None
    """(height, width) of the image, where given; else the second bottom's."""
    step: tuple[float, float] | None
    """(height, width) of a cell, where given; else the image's divided by the map's."""


@lru_cache(maxsize=64)
def boxes(priors: Priors, cells: tuple[int, int], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Return (1, 2, cells * boxes * 4): xmin, ymin, xmax, ymax as fractions of the image, then their variances.

    `cells` and `size` are (height, width) of the feature map and of the image. Centres, steps and sizes are float32 in
    the fork, the division by the image's size is float64.
    """
    height, width = priors.image or size
    step_h, step_w = priors.step or (_F(height) / _F(cells[0]), _F(width) / _F(cells[1]))
    y = (np.arange(cells[0], dtype=_F) + _F(priors.offset)) * _F(step_h)
    x = (np.arange(cells[1], dtype=_F) + _F(priors.offset)) * _F(step_w)
    wide, high = np.array(priors.sizes, np.float64).T / 2
    x = x.astype(np.float64)[None, :, None]
    y = y.astype(np.float64)[:, None, None]
    edges = np.broadcast_arrays((x - wide) / width, (y - high) / height, (x + wide) / width, (y + high) / height)
    corners = np.stack(edges, -1).astype(_F)
    if priors.clip:
        corners = corners.clip(0, 1)
    variance = np.broadcast_to(np.array(priors.variance, _F), corners.shape)
    return np.stack([corners.reshape(-1), variance.reshape(-1)])[None]


class PriorBoxModule(nn.Module):
    """Boxes at every cell of a feature map; the values of both bottoms do not matter."""

    def __init__(self, priors: Priors) -> None:
        super().__init__()
        self.priors = priors

    def forward(self, features: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """Return (1, 2, cells * boxes * 4)."""
        cells, size = (features.shape[2], features.shape[3]), (image.shape[2], image.shape[3])
        return torch.tensor(boxes(self.priors, cells, size), dtype=features.dtype, device=features.device)


@register
class PriorBox(Layer):
    """Default boxes of several sizes and shapes around every cell."""

    type = "PriorBox"
    forks = ("ssd",)
    summary = "default boxes around every cell of a map"
    origin = "src/caffe/layers/prior_box_layer.cpp"
    evidence = Evidence.RECORDED
    gradient = Gradient.STOPS
    bottoms = exactly(2)
    accounts = {
        "prior_box_param": Account(
            read=(
                *("min_size", "max_size", "aspect_ratio", "flip", "clip", "variance"),
                *("img_size", "img_h", "img_w", "step", "step_h", "step_w", "offset"),
            )
        )
    }

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        message, field = spec.message("prior_box_param"), "prior_box_param"
        low, high = list(message.min_size), list(message.max_size)
        if any(len(shape) != 4 for shape in spec.bottoms):
            yield spec.misfit("both bottoms must have 4 axes", spec.bottoms)
        if not low or not all(map(_size, low)):
            yield spec.error("needs at least one size, all positive", f"{field}.min_size", low, code="out-of-range")
        elif not all(map(_size, high)):
            yield spec.error("sizes must be positive", f"{field}.max_size", high, code="out-of-range")
        elif high and (len(high) != len(low) or any(b <= a for a, b in zip(low, high, strict=True))):
            yield spec.error(
                f"needs one size larger than each min_size {low}", f"{field}.max_size", high, code="out-of-range"
            )
        if len(message.variance) not in (0, 1, 4) or any(v <= 0 for v in message.variance):
            yield spec.fault("needs 0, 1 or 4 values, all positive", f"{field}.variance")
        if not all(map(_size, message.aspect_ratio)):
            yield spec.fault("must be positive", f"{field}.aspect_ratio")
        for name, high_name, wide_name in (("img_size", "img_h", "img_w"), ("step", "step_h", "step_w")):
            pair = [message.HasField(high_name), message.HasField(wide_name)]
            given = [f for f in (name, high_name, wide_name) if message.HasField(f)]
            if any(pair) and (message.HasField(name) or not all(pair)):
                yield spec.error(
                    f"needs either {name}, or both {high_name} and {wide_name}", f"{field}.{given[0]}", code="conflict"
                )
            elif any(getattr(message, f) <= 0 for f in given):
                yield spec.error(
                    "must be positive", f"{field}.{given[0]}", getattr(message, given[0]), code="out-of-range"
                )

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        return ((1, 2, count(spec.bottoms[0][2:]) * len(self._priors(spec).sizes) * 4),)

    def module(self, spec: LayerSpec) -> nn.Module:
        return PriorBoxModule(self._priors(spec))

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        cells, size = (onnx.fixed(shape[2:]) for shape in onnx.bottom_shapes)
        return [onnx.node("Identity", boxes(self._priors(spec), (cells[0], cells[1]), (size[0], size[1])))]

    def _priors(self, spec: LayerSpec) -> Priors:
        message = spec.message("prior_box_param")
        return Priors(
            sizes=tuple(_sizes(list(message.min_size), list(message.max_size), _ratios(message))),
            variance=tuple(message.variance) or (float(_F(0.1)),),
            clip=message.clip,
            offset=message.offset,
            image=_pair(message, "img_size", "img_h", "img_w"),
            step=_pair(message, "step", "step_h", "step_w"),
        )


def _size(value: float) -> bool:
    """Tell whether a value can be a size: positive, and within the fork's int."""
    return 0 < value < 2**31


def _pair(message: Any, name: str, high: str, wide: str) -> tuple[int, int] | None:
    if message.HasField(high):
        return getattr(message, high), getattr(message, wide)
    return (getattr(message, name),) * 2 if message.HasField(name) else None


def _ratios(message: Any) -> list[np.float32]:
    """Return the aspect ratios, 1 first, each once, followed by its inverse if they are flipped."""
    ratios = [_F(1)]
    for ratio in map(_F, message.aspect_ratio):
        if all(abs(float(ratio) - float(other)) >= _SAME for other in ratios):
            ratios += [ratio, _F(1 / float(ratio))] if message.flip else [ratio]
    return ratios


def _sizes(low: list[float], high: list[float], ratios: list[np.float32]) -> Iterator[tuple[float, float]]:
    """Yield the (width, height) of each box of a cell; sizes are cut to whole pixels, as in the fork."""
    for i, small in enumerate(low):
        size = int(small)
        yield float(size), float(size)
        if high:
            both = float(_F(np.sqrt(np.float64(size * int(high[i])))))
            yield both, both
        for ratio in ratios:
            if abs(float(ratio) - 1) >= _SAME:
                root = np.sqrt(ratio)
                yield float(_F(size) * root), float(_F(size) / root)
