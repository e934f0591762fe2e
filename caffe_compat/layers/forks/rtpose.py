"""The last layers of OpenPose's first release (caffe_rtpose): maps resized and averaged, and their peaks.

Both layers follow the fork's code for GPUs. Its code for CPUs computes something else: ImResize with OpenCV's cubic,
one map at a time, and Nms with two columns for each peak, where its top has three.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import Account, Layer, LayerSpec, Shape, register
from caffe_compat.layers.facts import Evidence, Gradient

F32 = np.float32
_REACH = 3  # a peak is the centre of mass of the cells this near


def _cubic(size: int, length: int, pad: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return (length, 4) indices into a line of `size` cells, and their weights, for the part inside `pad` cells.

    Computed in float32, as in the kernel. Before the first cell the offset is negative: the curve goes on.
    """
    inner = size - 2 * pad
    offset = F32(float(F32(length) / F32(inner) / F32(2)) - 0.5)
    at = (np.arange(length, dtype=F32) - offset) * (F32(inner) / F32(length))
    second = np.maximum((at.astype(np.float64) + 1e-5).astype(np.int64), 0)  # C's cast cuts towards zero
    first, third = np.maximum(second - 1, 0), np.minimum(second + 1, inner - 1)
    fourth = np.minimum(third + 1, inner - 1)
    d = (at - second.astype(F32)).astype(np.float64)
    weights = [
        -0.5 * d**3 + d**2 - 0.5 * d,
        1.5 * d**3 - 2.5 * d**2 + 1,
        -1.5 * d**3 + 2 * d**2 + 0.5 * d,
        0.5 * d**3 - 0.5 * d**2,
    ]
    return np.stack([first, second, third, fourth], 1) + pad, np.stack(weights, 1)


class ImResizeModule(nn.Module):
    """Cubic resizing of each scale's map without its padding, averaged over the scales (the batch)."""

    def __init__(self, size: tuple[int, int], start: float, gap: float) -> None:
        super().__init__()
        self.size, self.start, self.gap = size, start, gap

    def pad(self, number: int, size: int) -> int:
        """Return how many cells at either end of a line do not belong to a scale."""
        share = F32(1) - F32(self.start) + F32(number) * F32(self.gap)
        return int(np.floor(F32(size // 2) * share))

    @torch.no_grad()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (1, C, height, width) of (N, C, H, W)."""
        total = x.new_zeros(x.shape[1], *self.size)
        for number, maps in enumerate(x):
            for axis in (2, 1):
                size = maps.shape[axis]
                places, weights = _cubic(size, self.size[axis - 1], self.pad(number, size))
                taps = [
                    maps.index_select(axis, torch.from_numpy(places[:, tap]).to(x.device))
                    * torch.from_numpy(weights[:, tap]).to(x.device, x.dtype).view(-1, *[1] * (2 - axis))
                    for tap in range(4)
                ]
                maps = taps[0] + taps[1] + taps[2] + taps[3]
            total += maps
        return (total / x.shape[0])[None]


@register
class ImResize(Layer):
    """Maps of several scales resized to one size."""

    type = "ImResize"
    forks = ("rtpose",)
    summary = "cubic resizing, averaged over scales"
    origin = "src/caffe/cpm/layers/imresize_layer.cu"
    evidence = Evidence.TRANSCRIPTION
    gradient = Gradient.REFUSED
    no_gradient = (0,)
    accounts = {
        "imresize_param": Account(
            read=("target_spatial_width", "target_spatial_height", "factor", "start_scale", "scale_gap")
        )
    }

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        shape, message = spec.bottoms[0], spec.message("imresize_param")
        if len(shape) != 4:
            yield spec.misfit("the bottom must have 4 axes", shape)
            return
        if message.factor < 0 or min(self._size(spec)) < 1:
            yield spec.fault("leaves no map", "imresize_param.factor")
            return
        module = ImResizeModule(self._size(spec), message.start_scale, message.scale_gap)
        for number in range(shape[0]):
            if any(not 0 <= module.pad(number, size) < (size + 1) // 2 for size in shape[2:]):
                yield spec.fault(f"scale {number} is not inside its map", "imresize_param.start_scale")
                return

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        return ((1, spec.bottoms[0][1], *self._size(spec)),)

    def module(self, spec: LayerSpec) -> nn.Module:
        message = spec.message("imresize_param")
        return ImResizeModule(self._size(spec), message.start_scale, message.scale_gap)

    def _size(self, spec: LayerSpec) -> tuple[int, int]:
        message, (high, wide) = spec.message("imresize_param"), spec.bottoms[0][2:]
        if message.factor:
            return int(F32(high) * F32(message.factor)), int(F32(wide) * F32(message.factor))
        return message.target_spatial_height, message.target_spatial_width


class NmsModule(nn.Module):
    """For each part the number of its peaks, then x, y and score of the first; rows that are not used are 0.

    A peak's place is the centre of mass around it. There the kernel takes the map's width for its height too, and
    leaves out row 0 and column 0: in a map higher than wide rows are left out, in another the next map's count.
    """

    def __init__(self, threshold: float, parts: int, peaks: int) -> None:
        super().__init__()
        self.threshold, self.parts, self.peaks = threshold, parts, peaks

    @torch.no_grad()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (N, parts, peaks + 1, 3) of (N, C, H, W), of which the first N x parts maps are read."""
        high, wide = x.shape[2:]
        values = x.detach().cpu().numpy()
        flat = np.concatenate([values.ravel(), np.zeros((wide + _REACH) * wide, values.dtype)])
        top = np.zeros((x.shape[0] * self.parts, self.peaks + 1, 3), values.dtype)
        for number, out in enumerate(top):
            start = number * high * wide
            peaks = self._peaks(flat[start : start + high * wide].reshape(high, wide))
            out[0, 0] = len(peaks)
            for row, (y, x_at) in zip(out[1:], peaks, strict=False):
                row[:2] = self._centre(flat[start:], int(y), int(x_at), wide)
                row[2] = flat[start + y * wide + x_at]
        return torch.from_numpy(top).to(x.device).view(x.shape[0], self.parts, self.peaks + 1, 3)

    def _peaks(self, part: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
        """Return (row, column) of the cells above the threshold and their eight neighbours."""
        inner = part[1:-1, 1:-1]
        higher = inner > self.threshold
        for y in range(3):
            for x in range(3):
                if (y, x) != (1, 1):
                    higher &= inner > part[y : y + inner.shape[0], x : x + inner.shape[1]]
        return np.argwhere(higher) + 1

    def _centre(self, values: npt.NDArray[np.floating], y: int, x: int, wide: int) -> tuple[float, float]:
        sums = np.zeros(3, F32)
        for row in range(max(y - _REACH, 1), min(y + _REACH + 1, wide)):
            for column in range(max(x - _REACH, 1), min(x + _REACH + 1, wide)):
                score = F32(values[row * wide + column])
                if score > 0:
                    sums += np.array([F32(column) * score, F32(row) * score, score], F32)
        if not sums[2]:
            return float("nan"), float("nan")
        return float(sums[0] / sums[2]), float(sums[1] / sums[2])


@register
class Nms(Layer):
    """Peaks of the maps of body parts."""

    type = "Nms"
    forks = ("rtpose",)
    summary = "peaks of maps: number, then x, y and score of each"
    origin = "src/caffe/cpm/layers/nms_layer.cu"
    evidence = Evidence.TRANSCRIPTION
    gradient = Gradient.REFUSED
    no_gradient = (0,)
    is_result = True
    accounts = {
        "nms_param": Account(
            read=("threshold", "max_peaks", "num_parts"), ignored={"num_peak": "the fork does not read it"}
        )
    }

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        shape, parts = spec.bottoms[0], spec.message("nms_param").num_parts
        if len(shape) != 4 or shape[1] < parts or min(shape[2:]) < 3:
            yield spec.misfit(f"needs 4 axes, at least num_parts = {parts} channels and 3 x 3 cells", shape)

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        message = spec.message("nms_param")
        return ((spec.bottoms[0][0], message.num_parts, message.max_peaks + 1, 3),)

    def module(self, spec: LayerSpec) -> nn.Module:
        message = spec.message("nms_param")
        return NmsModule(message.threshold, message.num_parts, message.max_peaks)
