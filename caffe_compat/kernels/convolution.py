"""Convolutions that sum in genuine Caffe's order, forward and backward.

Caffe lays the windows of an image out as columns (channel, row, column; one column per place of the kernel) and
multiplies matrices. This module reads the values from the image instead of copying them to columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from caffe_compat.kernels.order import (
    FEW,
    Factor,
    block_ends,
    chunks,
    flat,
    grid,
    implementation,
    in_lanes_transposed,
    lane_start,
    lane_sums,
    round_down,
    share,
    span,
)
from caffe_compat.kernels.plain import Floats, Offsets
from caffe_compat.layers.functions import Pair, Window


@dataclass(frozen=True)
class Geometry:
    """The offsets of a 2-d convolution's values in flat arrays; the bottom is padded."""

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
        return Window(self.kernel, self.stride, dilation=self.dilation).output(self.padded)

    @property
    def places(self) -> int:
        """Number of places of the kernel on an image."""
        return self.top[0] * self.top[1]

    @property
    def image(self) -> int:
        """Number of values of a padded image."""
        return self.channels * self.padded[0] * self.padded[1]

    @property
    def taps(self) -> int:
        """Products per sum: channels of a group times the kernel's size."""
        return self.channels // self.groups * self.kernel[0] * self.kernel[1]

    def tap_offsets(self, group: int) -> Offsets:
        """Return the offsets of a window's values from its corner: channel, row, column."""
        (height, width), (down, right) = self.padded, self.dilation
        channels = self.channels // self.groups
        return grid(
            span(channels, height * width, group * channels * height * width),
            span(self.kernel[0], down * width),
            span(self.kernel[1], right),
        )

    def place_offsets(self) -> Offsets:
        """Return the offsets of the windows' corners."""
        return grid(span(self.top[0], self.stride[0] * self.padded[1]), span(self.top[1], self.stride[1]))

    def output_range(self, group: int) -> slice:
        """Return the range of a group's outputs."""
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
    values, weights, out = flat(x), flat(weight), top.reshape(-1)
    images, sums = span(at.images, at.image), span(at.images, at.outputs * at.places)
    products = at.outputs // groups * at.taps * at.places  # of one image's matrices
    first, ends = lane_start(at.places, at.taps, products), block_ends(at.taps, small=products <= FEW)
    corners, places = grid(images, at.place_offsets()[:first]), grid(sums, span(first))
    for group in range(groups if top.size else 0):
        outputs = np.arange(at.outputs, dtype=np.int64)[at.output_range(group)]
        rows, taps = outputs * at.places, at.tap_offsets(group)
        left = Factor(weights, outputs * at.taps, span(at.taps))
        packed = kernels.pack(left.values, left.outer, left.inner)

        def work(piece: slice, packed: Floats = packed, taps: Offsets = taps, rows: Offsets = rows) -> None:
            kernels.add_products(packed, values, taps, corners[piece], ends, out, rows, places[piece])

        share(work, chunks(corners.size), outputs.size * at.taps * corners.size)
        if first < at.places:
            right = Factor(values, grid(images, at.place_offsets()[first:]), taps)
            pairs = np.tile(np.arange(first, at.places) < round_down(at.places, 4), at.images)
            out[grid(rows, sums, span(at.places - first, start=first))] = lane_sums(left, right, pairs).reshape(-1)
    return torch.from_numpy(top)


def weight_gradient(
    x: torch.Tensor, weight: torch.Tensor, gradient: torch.Tensor, stride: Pair, dilation: Pair, groups: int
) -> torch.Tensor:
    """Return the weight's gradient: sums over the places of each image, added in the order of the images."""
    at, kernels = _geometry(x, weight, stride, dilation, groups), implementation()
    result = np.zeros(tuple(weight.shape), np.float32)
    values, tops, out, ends = flat(x), flat(gradient), result.reshape(-1), block_ends(at.places)
    share_of_group, corners = at.outputs // groups, at.place_offsets()
    in_lanes = in_lanes_transposed(share_of_group, at.taps, at.places)
    for group, image in np.ndindex(groups if result.size and gradient.numel() else 0, at.images):
        outputs, taps = np.arange(at.outputs, dtype=np.int64)[at.output_range(group)], at.tap_offsets(group)
        left = Factor(tops, (image * at.outputs + outputs) * at.places, span(at.places))
        right = Factor(values, taps, corners + image * at.image)
        if in_lanes is not None:
            result[at.output_range(group)] += lane_sums(left, right, in_lanes).reshape(-1, *result.shape[1:])
            continue
        packed = kernels.pack(left.values, left.outer, left.inner)

        def work(
            piece: slice, packed: Floats = packed, right: Factor = right, rows: Offsets = outputs * at.taps
        ) -> None:
            columns = span(at.taps)[piece]
            kernels.add_products(packed, values, right.inner, right.outer[piece], ends, out, rows, columns)

        share(work, chunks(at.taps), share_of_group * at.taps * at.places)
    return torch.from_numpy(result)


def bottom_gradient(
    x: torch.Tensor, weight: torch.Tensor, gradient: torch.Tensor, stride: Pair, dilation: Pair, groups: int
) -> torch.Tensor:
    """Return the padded bottom's gradient: each tap's sum over the outputs, then the sum of the taps in order."""
    at, kernels = _geometry(x, weight, stride, dilation, groups), implementation()
    result = torch.zeros(x.shape, dtype=x.dtype)
    if not result.numel() or not gradient.numel():
        return result
    maps, tops, weights = result.numpy(), flat(gradient), flat(weight)
    outputs, channels = at.outputs // groups, at.channels // groups
    small = outputs * at.taps * at.places <= FEW
    inner, ends, columns = span(outputs, at.places), block_ends(outputs, small=small), span(at.places)
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
    """Add taps (channels, kernel height, kernel width, height, width) to their places in `maps`, as Caffe's col2im."""
    _, down, right, high, wide = taps.shape
    for i in range(down):
        for j in range(right):
            top, side = i * dilation[0], j * dilation[1]
            maps[:, top : top + high * stride[0] : stride[0], side : side + wide * stride[1] : stride[1]] += taps[
                :, i, j
            ]


def bias_gradient(gradient: torch.Tensor) -> torch.Tensor:
    """Return the bias's gradient: sums over each image's places in 8 or 4 lanes, as OpenBLAS's sgemv."""
    images, outputs, places = gradient.shape[0], gradient.shape[1], gradient[0, 0].numel()
    result, values = np.zeros(outputs, np.float32), flat(gradient)
    tops, output = span(images * outputs, places), np.arange(images * outputs) % outputs
    wide = (output < round_down(outputs, 4)) | (
        output >= round_down(outputs, 2)
    )  # two of the last three outputs use 4 lanes
    end = round_down(places, 4)
    sums = []
    for start in range(0, end, _SGEMV):
        size = min(_SGEMV, end - start)
        part = np.empty(images * outputs, np.float32)
        odd = size % 8 // 4 * 4  # the remainder of 8 lanes comes first, in the lower 4
        late = _lanes(values, tops[wide], start + odd + span(4, start=4), span(size // 8, 8))
        early = _lanes(values, tops[wide], start + span(4), np.append(span(odd // 4), odd + span(size // 8, 8)))
        part[wide] = _pairs(early + late)
        part[~wide] = _pairs(_lanes(values, tops[~wide], start + span(4), span(size // 4, 4)))
        sums.append(part)
    if end < places:
        sums.append(np.add.accumulate(values.reshape(-1, places)[:, end:], axis=1)[:, -1])
    for image in range(images):
        for part in sums:
            result += part[image * outputs : (image + 1) * outputs]
    return torch.from_numpy(result)


_SGEMV = 4096
"""Places that sgemv sums before it adds to the result."""


def _lanes(values: Floats, tops: Offsets, lanes: Offsets, steps: Offsets) -> Floats:
    """Return sums of ``values[top + lane + step]`` over the steps (tops, lanes)."""
    sums = np.zeros((tops.size, lanes.size), np.float32)
    if sums.size and steps.size:
        kernels, out, columns = implementation(), sums.reshape(-1), grid(tops, lanes)
        ones = kernels.pack(np.ones(1, np.float32), span(1), span(steps.size, 0))

        def work(piece: slice) -> None:
            ends, places = span(1, start=steps.size), span(out.size)[piece]
            kernels.add_products(ones, values, steps, columns[piece], ends, out, span(1), places)

        share(work, chunks(out.size), 8 * out.size * steps.size)
    return sums


def _pairs(lanes: Floats) -> Floats:
    return np.asarray((lanes[:, 0] + lanes[:, 1]) + (lanes[:, 2] + lanes[:, 3]))
