"""Convolutions whose sums are added up in genuine Caffe's order, forward and backward.

Caffe lays the windows of an image out as columns (channel, row, column; one column for each place of the kernel) and
multiplies matrices. The columns are not laid out here: their values are read where they lie.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from caffe_compat.kernels.linear import product
from caffe_compat.kernels.order import block_ends, chunks, flat, grid, implementation, share, span
from caffe_compat.kernels.plain import Floats, Offsets

Pair = tuple[int, int]


@dataclass(frozen=True)
class Geometry:
    """Where the values of a 2-d convolution lie, as offsets into flat arrays; the bottom is padded."""

    images: int
    channels: int
    outputs: int
    groups: int
    padded: Pair
    kernel: Pair
    stride: Pair
    dilation: Pair

    @property
    def top(self) -> Pair:
        """Height and width of the top."""
        high, wide = (
            (n - d * (k - 1) - 1) // s + 1
            for n, k, s, d in zip(self.padded, self.kernel, self.stride, self.dilation, strict=True)
        )
        return high, wide

    @property
    def places(self) -> int:
        """Places of the kernel on an image."""
        return self.top[0] * self.top[1]

    @property
    def image(self) -> int:
        """Values of a padded image."""
        return self.channels * self.padded[0] * self.padded[1]

    @property
    def taps(self) -> int:
        """Products of a sum: channels of a group times the kernel's size."""
        return self.channels // self.groups * self.kernel[0] * self.kernel[1]

    def tap_offsets(self, group: int) -> Offsets:
        """Return where a window's values lie from its corner on: channel, row, column."""
        (height, width), (down, right) = self.padded, self.dilation
        channels = self.channels // self.groups
        return grid(
            span(channels, height * width, group * channels * height * width),
            span(self.kernel[0], down * width),
            span(self.kernel[1], right),
        )

    def place_offsets(self) -> Offsets:
        """Return where the windows' corners lie."""
        return grid(span(self.top[0], self.stride[0] * self.padded[1]), span(self.top[1], self.stride[1]))

    def output_range(self, group: int) -> slice:
        """Return a group's outputs."""
        share = self.outputs // self.groups
        return slice(group * share, (group + 1) * share)


def _geometry(x: torch.Tensor, weight: torch.Tensor, stride: Pair, dilation: Pair, groups: int) -> Geometry:
    images, channels, *padded = x.shape
    outputs, _, *kernel = weight.shape
    return Geometry(images, channels, outputs, groups, (padded[0], padded[1]), (kernel[0], kernel[1]), stride, dilation)


def forward(x: torch.Tensor, weight: torch.Tensor, stride: Pair, dilation: Pair, groups: int) -> torch.Tensor:
    """Convolve a padded bottom (N, C, H, W), float32 on the CPU, without a bias."""
    at, kernels = _geometry(x, weight, stride, dilation, groups), implementation()
    top = np.zeros((at.images, at.outputs, *at.top), np.float32)
    values, weights, out, ends = flat(x), flat(weight), top.reshape(-1), block_ends(at.taps)
    corners = grid(span(at.images, at.image), at.place_offsets())
    places = grid(span(at.images, at.outputs * at.places), span(at.places))
    for group in range(groups if top.size else 0):
        outputs = np.arange(at.outputs, dtype=np.int64)[at.output_range(group)]
        packed, taps = kernels.pack(weights, outputs * at.taps, span(at.taps)), at.tap_offsets(group)

        def work(
            piece: slice, packed: Floats = packed, taps: Offsets = taps, rows: Offsets = outputs * at.places
        ) -> None:
            kernels.add_products(packed, values, taps, corners[piece], ends, out, rows, places[piece])

        share(work, chunks(corners.size), outputs.size * at.taps * corners.size)
    return torch.from_numpy(top)


def weight_gradient(
    x: torch.Tensor, weight: torch.Tensor, gradient: torch.Tensor, stride: Pair, dilation: Pair, groups: int
) -> torch.Tensor:
    """Return the weight's gradient: sums over the places of an image, added image by image."""
    at, kernels = _geometry(x, weight, stride, dilation, groups), implementation()
    result = np.zeros(tuple(weight.shape), np.float32)
    values, tops, out, ends = flat(x), flat(gradient), result.reshape(-1), block_ends(at.places)
    places, corners = span(at.places), at.place_offsets()
    for group in range(groups if result.size and gradient.numel() else 0):
        outputs = np.arange(at.outputs, dtype=np.int64)[at.output_range(group)]
        taps = at.tap_offsets(group)
        for image in range(at.images):
            packed = kernels.pack(tops, (image * at.outputs + outputs) * at.places, places)

            def work(
                piece: slice,
                packed: Floats = packed,
                inner: Offsets = corners + image * at.image,
                taps: Offsets = taps,
                rows: Offsets = outputs * at.taps,
            ) -> None:
                kernels.add_products(packed, values, inner, taps[piece], ends, out, rows, span(at.taps)[piece])

            share(work, chunks(at.taps), outputs.size * at.taps * at.places)
    return torch.from_numpy(result)


def bottom_gradient(
    x: torch.Tensor, weight: torch.Tensor, gradient: torch.Tensor, stride: Pair, dilation: Pair, groups: int
) -> torch.Tensor:
    """Return the padded bottom's gradient: every tap's sum over the outputs, then the taps in their order."""
    at, kernels = _geometry(x, weight, stride, dilation, groups), implementation()
    result = torch.zeros(x.shape)
    if not result.numel() or not gradient.numel():
        return result
    maps, tops, weights = result.numpy(), flat(gradient), flat(weight)
    outputs, channels = at.outputs // groups, at.channels // groups
    inner, ends, columns = span(outputs, at.places), block_ends(outputs), span(at.places)
    packs = [
        kernels.pack(weights, span(at.taps, 1, group * outputs * at.taps), span(outputs, at.taps))
        for group in range(groups)
    ]

    def work(piece: slice) -> None:
        for item in range(piece.start, piece.stop):
            image, group = divmod(item, groups)
            taps = np.zeros((at.taps, at.places), np.float32)
            rows, first = span(at.taps, at.places), (image * at.outputs + group * outputs) * at.places
            for part in chunks(at.places):
                kernels.add_products(
                    packs[group], tops, inner + first, columns[part], ends, taps.reshape(-1), rows, columns[part]
                )
            into = maps[image, group * channels : (group + 1) * channels]
            _add_windows(taps.reshape(channels, *at.kernel, *at.top), into, stride, dilation)

    share(work, chunks(at.images * groups, 1), at.images * at.outputs * at.taps * at.places)
    return result


def _add_windows(taps: Floats, maps: Floats, stride: Pair, dilation: Pair) -> None:
    """Add (channels, kernel height, kernel width, height, width) where each tap lies in `maps`, as Caffe's col2im."""
    _, down, right, high, wide = taps.shape
    for i in range(down):
        for j in range(right):
            top, side = i * dilation[0], j * dilation[1]
            maps[:, top : top + high * stride[0] : stride[0], side : side + wide * stride[1] : stride[1]] += taps[
                :, i, j
            ]


def bias_gradient(gradient: torch.Tensor) -> torch.Tensor:
    """Return the sums over an image's places, added image by image."""
    images, outputs, places = gradient.shape[0], gradient.shape[1], gradient[0, 0].numel()
    result = torch.zeros(outputs)
    ones = torch.ones(1, places)
    for image in gradient.reshape(images, outputs, places):
        result += product(ones, image.t())[0]
    return result
