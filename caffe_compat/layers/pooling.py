"""Pooling with Caffe's rounding, clipping and averages; stochastic pooling as on Caffe's GPU; SPP."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import ENGINE, Account, Arity, Layer, LayerSpec, Shape, register
from caffe_compat.layers.facts import Coordinates, Drawing, OnnxType, OnnxWriter, Sizes, drawn_window
from caffe_compat.layers.functions import Pool, Window
from caffe_compat.schema import caffe_pb2 as pb

_FLT_MAX = float(torch.finfo(torch.float32).max)


@dataclass(frozen=True)
class PoolingWindow:
    """A pooling window: (height, width) of kernel, stride and pad; `ceil` is Caffe's default rounding."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    ceil: bool

    def output(self, size: int, axis: int) -> int:
        """Return the pooled size of one axis (0: height, 1: width).

        Rounded up; where there is padding, the last window is dropped if it starts in the padding after the map.
        """
        k, s, p = self.kernel[axis], self.stride[axis], self.pad[axis]
        steps = size + 2 * p - k
        out = (-(-steps // s) if self.ceil else steps // s) + 1
        return out - 1 if any(self.pad) and (out - 1) * s >= size + p else out

    def native(self) -> bool:
        """Tell whether torch's own pooling has the same windows for every size of map."""
        return self.begins_within() and all(2 * p <= k for p, k in zip(self.pad, self.kernel, strict=True))

    def begins_within(self) -> bool:
        """Tell whether every window begins within the padded map, for every size of map."""
        return not self.ceil or any(self.pad) or all(s <= k for s, k in zip(self.stride, self.kernel, strict=True))

    def extent(self, size: int, axis: int) -> int:
        """Return the extent of all windows together."""
        return (self.output(size, axis) - 1) * self.stride[axis] + self.kernel[axis]

    def lengths(self, size: int, axis: int) -> torch.Tensor:
        """Return how long each window is, clipped to the padded map."""
        start = torch.arange(self.output(size, axis)) * self.stride[axis] - self.pad[axis]
        return (start + self.kernel[axis]).clamp(max=size + self.pad[axis]) - start

    def padded(self, x: torch.Tensor, value: float) -> torch.Tensor:
        """Return `x` padded or cropped to just what the windows cover."""
        h, w = x.shape[2:]
        bottom = self.extent(h, 0) - h - self.pad[0]
        right = self.extent(w, 1) - w - self.pad[1]
        return F.pad(x, (self.pad[1], right, self.pad[0], bottom), value=value)


class MaxPool(nn.Module):
    """Max pooling for the windows that torch's own does not have, and for the mask top."""

    def __init__(self, window: PoolingWindow, mask: bool) -> None:
        super().__init__()
        self.window, self.mask = window, mask

    def forward(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Return the maxima; with `mask` also the index of each within its map (as a float)."""
        window = self.window
        y = window.padded(x, -_FLT_MAX)
        top, index = F.max_pool2d(y, window.kernel, window.stride, return_indices=True)
        if not self.mask:
            return top
        row = index.div(y.shape[3], rounding_mode="floor") - window.pad[0]
        column = index % y.shape[3] - window.pad[1]
        outside = (row >= x.shape[2]) | (column >= x.shape[3])  # a window beyond the map
        return top, torch.where(outside, -1, row * x.shape[3] + column).to(x.dtype)


class GlobalMaxPool(nn.Module):
    """Maximum of each map, whatever its size, and its index (as a float)."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the maxima of (N, C, H, W) as (N, C, 1, 1), and where they are."""
        top, index = F.adaptive_max_pool2d(x, 1, return_indices=True)
        return top, index.to(x.dtype)


class AvgPool(nn.Module):
    """Average pooling for the windows that torch's own does not have."""

    def __init__(self, window: PoolingWindow) -> None:
        super().__init__()
        self.window = window

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the means over each window clipped to the padded map."""
        window = self.window
        total = F.avg_pool2d(window.padded(x, 0), window.kernel, window.stride, divisor_override=1)
        areas = [window.lengths(size, axis).to(x) for axis, size in enumerate(x.shape[2:])]
        return total / (areas[0][:, None] * areas[1])


class StochasticPool(nn.Module):
    """In TRAIN, draw a value of each window in proportion to its size; in TEST, average weighted by the values.

    Facts from Caffe's pooling_layer.cu: it takes the first value at which the running sum reaches a random fraction of
    the window's sum. What it does with negative values is not defined there; here the last value is taken where the sum
    is never reached. Random numbers are torch's.
    """

    def __init__(self, window: PoolingWindow) -> None:
        super().__init__()
        self.window = window

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pool (N, C, H, W)."""
        at, size = self.window, [self.window.output(n, axis) for axis, n in enumerate(x.shape[2:])]
        values = F.unfold(at.padded(x, 0), at.kernel, stride=at.stride)
        values = values.view(*x.shape[:2], at.kernel[0] * at.kernel[1], *size)
        if not self.training:
            total = values.sum(2)
            return torch.where(total > 0, values.square().sum(2) / torch.where(total > 0, total, 1), 0)
        with torch.no_grad():
            running = values.cumsum(2)
            drawn = 1 - torch.rand(running[:, :, -1:].shape, dtype=x.dtype, device=x.device)  # above 0, up to 1
            reached = running >= drawn * running[:, :, -1:]
            reached[:, :, -1] = True
            first = reached.to(torch.uint8).argmax(2, keepdim=True)
        return values.gather(2, first).squeeze(2)


class _PooledMap:
    """A map for ONNX's pooling operators: windows rounded down over a map padded to just their reach.

    Their own rounding up (ceil_mode) does not define windows that begin beyond the map, and by what the
    average of a window is divided that reaches there.
    """

    def __init__(self, onnx: OnnxWriter, x: str, at: PoolingWindow, sizes: Sizes, value: float) -> None:
        self.onnx, self.at, self.size = onnx, at, None if None in sizes else onnx.fixed(sizes)
        self.x, self.pads, self.free = x, [*at.pad, *at.pad], ""
        if not at.ceil or at.stride == (1, 1):
            return
        if self.size is None:
            self.free = onnx.node("Slice", onnx.node("Shape", x), [2], [4])
            self.x, self.pads = self._padded(x, [*at.pad], value), [0] * 4
            return
        ends = [max(0, at.extent(n, i) - n - at.pad[i]) for i, n in enumerate(self.size)]
        if any(end >= k for end, k in zip(ends, at.kernel, strict=True)):  # a window beyond the map
            self.x, self.pads = onnx.node("Pad", x, [0, 0, *at.pad, 0, 0, *ends], value), [0] * 4
        else:
            self.pads = [*at.pad, *ends]

    def pooled(self, operator: str, outputs: int = 1, **attributes: int) -> list[str]:
        """Append a pooling operator."""
        at = self.at
        return self.onnx.nodes(
            operator, self.x, outputs=outputs, kernel_shape=at.kernel, strides=at.stride, pads=self.pads, **attributes
        )

    def mean(self) -> str:
        """Append the means over each window clipped to the padded map."""
        (whole,) = self.pooled("AveragePool", count_include_pad=1)
        area, at = math.prod(self.at.kernel), self.at
        if self.free:
            size = self.onnx.node("Add", self.free, [2 * p for p in at.pad])
            ones = self.onnx.node("Expand", 1.0, self.onnx.node("Concat", [1, 1], size, axis=0))
            ones = self._padded(ones, [0, 0], 0.0)
            share = self.onnx.node("AveragePool", ones, kernel_shape=at.kernel, strides=at.stride)
            return self.onnx.node("Div", whole, share)
        if self.size is None or not at.ceil:
            return whole
        high, wide = (at.lengths(n, i) for i, n in enumerate(self.size))
        shares = (high[:, None] * wide / area).numpy()
        return whole if (shares == 1).all() else self.onnx.node("Div", whole, shares)

    def _padded(self, x: str, before: list[int], value: float) -> str:
        """Pad a map, of a size known at run time, to the reach of the windows over the padded map."""
        onnx, at, stride = self.onnx, self.at, [*self.at.stride]
        begun = onnx.node(
            "Add", self.free, [2 * p - k + s - 1 for p, k, s in zip(at.pad, at.kernel, at.stride, strict=True)]
        )
        last = onnx.node("Mul", onnx.node("Div", begun, stride), stride)  # where the last window begins
        if any(at.pad):
            beyond = onnx.node("GreaterOrEqual", last, onnx.node("Add", self.free, [*at.pad]))
            last = onnx.node("Sub", last, onnx.node("Mul", onnx.node("Cast", beyond, to=OnnxType.INT64), stride))
        size = onnx.node("Add", onnx.node("Slice", onnx.node("Shape", x), [2], [4]), before)
        end = onnx.node("Max", onnx.node("Sub", onnx.node("Add", last, [*at.kernel]), size), [0, 0])
        return onnx.node("Pad", x, onnx.node("Concat", [0, 0, *before, 0, 0], end, axis=0), value)


def pooled(onnx: OnnxWriter, x: str, at: PoolingWindow, sizes: Sizes, *, largest: bool) -> str:
    """Write max or average pooling of `x`, a map of (height, width) `sizes`."""
    if not largest:
        sizes = sizes if at.begins_within() else onnx.fixed(sizes)  # a window beyond the map has a negative area
        return _PooledMap(onnx, x, at, sizes, 0.0).mean()
    if at.begins_within() and not any(at.pad):  # rounding up leaves nothing open
        return onnx.node("MaxPool", x, kernel_shape=at.kernel, strides=at.stride, ceil_mode=int(at.ceil))
    return _PooledMap(onnx, x, at, sizes, -_FLT_MAX).pooled("MaxPool")[0]


def _pair(spec: LayerSpec, name: str, high: str, wide: str) -> tuple[int, int]:
    message = spec.param.pooling_param
    has = [message.HasField(f) for f in (name, high, wide)]
    if has[0] and has[1] != has[2] and name == "kernel_size":
        return message.kernel_size, message.kernel_size  # Caffe looks at kernel_h and kernel_w together
    if has[1] != has[2] or (has[0] and has[1]):
        raise spec.error(f"needs either {name}, or both {high} and {wide}", f"pooling_param.{name}", code="conflict")
    if has[1]:
        return getattr(message, high), getattr(message, wide)
    return (getattr(message, name),) * 2


@register
class Pooling(Layer):
    """Max or average over windows, or a value drawn from each."""

    type = "Pooling"
    summary = "MAX (with mask top), AVE and STOCHASTIC, ceil or floor, global"
    coordinates = Coordinates.WINDOW
    drawing = Drawing("#FF9900")
    free_outputs = (nn.MaxPool2d, nn.AdaptiveMaxPool2d)
    tops = Arity(1, 2)
    accounts = {
        "pooling_param": Account(
            read=(
                "pool",
                "pad",
                "pad_h",
                "pad_w",
                "kernel_size",
                "kernel_h",
                "kernel_w",
                "stride",
                "stride_h",
                "stride_w",
                "global_pooling",
                "round_mode",
            ),
            ignored=ENGINE,
        )
    }

    def rounds_up(self, spec: LayerSpec) -> bool:
        """Tell whether a last window that is not full counts."""
        return spec.param.pooling_param.round_mode == pb.PoolingParameter.CEIL

    def window(self, spec: LayerSpec) -> PoolingWindow:
        """Return the window (for global pooling, the whole map)."""
        message = spec.param.pooling_param
        if len(spec.bottoms[0]) != 4:
            raise spec.misfit("the bottom must have 4 axes", spec.bottoms[0], "num, channels, height, width")
        kernel = _pair(spec, "kernel_size", "kernel_h", "kernel_w")
        stride = _pair(spec, "stride", "stride_h", "stride_w")
        pad = _pair(spec, "pad", "pad_h", "pad_w")
        if message.global_pooling:
            if any(message.HasField(f) for f in ("kernel_size", "kernel_h", "kernel_w")):
                raise spec.error("conflicts with a kernel size", "pooling_param.global_pooling", True, code="conflict")
            if any(pad) or stride != (1, 1):
                raise spec.error("needs pad 0 and stride 1", "pooling_param.global_pooling", True, code="conflict")
            kernel = (spec.bottoms[0][2], spec.bottoms[0][3])
        if min(kernel) < 1 or min(stride) < 1:
            raise spec.error(
                "kernel and stride must be positive", "pooling_param.kernel_size", kernel, code="out-of-range"
            )
        return PoolingWindow(kernel, stride, pad, ceil=self.rounds_up(spec))

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        at, pool, shape = self.window(spec), spec.param.pooling_param.pool, spec.bottoms[0]
        if pool == pb.PoolingParameter.STOCHASTIC and any(at.pad):
            yield spec.error("must be 0 for STOCHASTIC pooling", "pooling_param.pad", at.pad, code="conflict")
        if len(spec.param.top) > 1 and pool != pb.PoolingParameter.MAX:
            yield spec.error(
                "only MAX pooling has a second top, the mask", "top", list(spec.param.top), code="conflict"
            )
        if any(p >= k for p, k in zip(at.pad, at.kernel, strict=True)):
            problem = "must be smaller than the kernel"
            yield spec.error(problem, "pooling_param.pad", at.pad, f"kernel {at.kernel}", code="out-of-range")
        elif at.extent(shape[2], 0) * at.extent(shape[3], 1) > 64 * shape[2] * shape[3] + 2**20:
            yield spec.error(
                "the last window is far beyond the bottom", "pooling_param.stride", at.stride, code="out-of-range"
            )
        elif min(self.top_shapes(spec)[0][2:]) < 1:
            problem = f"the kernel is larger than the padded bottom {spec.bottoms[0]}"
            yield spec.error(problem, "pooling_param.kernel_size", at.kernel, code="shape-mismatch")

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        at, shape = self.window(spec), spec.bottoms[0]
        top = (*shape[:2], at.output(shape[2], 0), at.output(shape[3], 1))
        return (top,) * len(spec.param.top)

    def function(self, spec: LayerSpec) -> Pool | None:
        message, at = spec.param.pooling_param, self.window(spec)
        stochastic = message.pool == pb.PoolingParameter.STOCHASTIC
        if stochastic or len(spec.param.top) > 1:
            return None
        average = message.pool == pb.PoolingParameter.AVE
        if message.global_pooling:
            return Pool(None, average, lambda *_: (1, 1))
        return Pool(Window(at.kernel, at.stride, at.pad), average, lambda h, w: (at.output(h, 0), at.output(w, 1)))

    def module(self, spec: LayerSpec) -> nn.Module:
        message, at = spec.param.pooling_param, self.window(spec)
        largest, mask = message.pool == pb.PoolingParameter.MAX, len(spec.param.top) > 1
        if message.pool == pb.PoolingParameter.STOCHASTIC:
            return StochasticPool(at)
        if message.global_pooling:
            if mask:
                return GlobalMaxPool()
            return nn.AdaptiveMaxPool2d(1) if largest else nn.AdaptiveAvgPool2d(1)
        if not at.native() or mask:
            return MaxPool(at, mask) if largest else AvgPool(at)
        kind = nn.MaxPool2d if largest else nn.AvgPool2d
        return kind(at.kernel, at.stride, at.pad, ceil_mode=at.ceil)

    def _masked_onnx(self, spec: LayerSpec, onnx: OnnxWriter, at: PoolingWindow, size: Shape) -> list[str]:
        maps = _PooledMap(onnx, onnx.bottoms[0], at, size, -_FLT_MAX)
        if maps.x != onnx.bottoms[0]:
            problem = "cannot be exported to ONNX: the mask of windows beyond the map"
            raise spec.error(problem, "pooling_param.stride", at.stride, code="unsupported")
        top, index = maps.pooled("MaxPool", outputs=2)
        within = onnx.node("Mod", index, np.array(size[0] * size[1]))  # ONNX counts through the whole blob
        return [top, onnx.node("Cast", within, to=OnnxType.FLOAT32)]

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        message, at, (x,), methods = spec.param.pooling_param, self.window(spec), onnx.bottoms, pb.PoolingParameter
        sizes, largest, mask = onnx.bottom_shapes[0][2:], message.pool == methods.MAX, len(spec.param.top) > 1
        if mask:
            return self._masked_onnx(spec, onnx, at, onnx.fixed(sizes))
        if message.pool == methods.STOCHASTIC:
            total = _PooledMap(onnx, x, at, sizes, 0.0).pooled("AveragePool", count_include_pad=1)[0]
            squares = _PooledMap(onnx, onnx.node("Mul", x, x), at, sizes, 0.0).pooled(
                "AveragePool", count_include_pad=1
            )[0]
            return [onnx.node("Where", onnx.node("Greater", total, 0.0), onnx.node("Div", squares, total), 0.0)]
        if message.global_pooling:
            return [onnx.node("GlobalMaxPool" if largest else "GlobalAveragePool", x)]
        return [pooled(onnx, x, at, sizes, largest=largest)]

    def caffe_input(self, spec: LayerSpec, bottom: torch.Tensor) -> torch.Tensor:
        """Return the values that MAX pooling compares: it begins with -FLT_MAX, and neither NaN nor -inf is larger."""
        largest = spec.param.pooling_param.pool == pb.PoolingParameter.MAX
        if not largest or math.isfinite(float(bottom.sum())):
            return bottom
        least = torch.finfo(bottom.dtype).min
        return bottom.nan_to_num(nan=least, posinf=math.inf, neginf=least)

    def drawn_lines(self, param: pb.LayerParameter) -> list[str]:
        message = param.pooling_param
        title = f"({param.type} {pb.PoolingParameter.PoolMethod.Name(message.pool)})"
        if message.global_pooling:
            return [title, "global"]
        padded = message.HasField("pad_h") or message.HasField("pad_w")
        return [
            title,
            *drawn_window(
                [message.kernel_size] if message.HasField("kernel_size") else [message.kernel_h, message.kernel_w],
                [message.stride_h, message.stride_w] if message.HasField("stride_h") else [message.stride],
                [message.pad_h, message.pad_w] if padded else [message.pad],
            ),
        ]


def level_window(level: int, height: int, width: int) -> PoolingWindow:
    """Return the window that pools a map into 2^level bins a side (fewer where Caffe's rounding drops the last)."""
    bins = 2**level
    kernel = -(-height // bins), -(-width // bins)
    pad = (kernel[0] * bins - height + 1) // 2, (kernel[1] * bins - width + 1) // 2
    return PoolingWindow(kernel, kernel, pad, ceil=True)


class SPPModule(nn.Module):
    """Pool at each level and concatenate; the windows follow the size of the map."""

    def __init__(self, height: int, largest: bool) -> None:
        super().__init__()
        self.height, self.largest = height, largest

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (N, features) of (N, C, H, W); with one level (N, C, 1, 1)."""
        windows = [level_window(level, x.shape[2], x.shape[3]) for level in range(self.height)]
        tops = [(MaxPool(w, mask=False) if self.largest else AvgPool(w))(x) for w in windows]
        return tops[0] if self.height == 1 else torch.cat([top.flatten(1) for top in tops], 1)


@register
class SPP(Layer):
    """Pooling into 1, 2 x 2, 4 x 4 ... bins: a row of one length for maps of any size."""

    type = "SPP"
    summary = "spatial pyramid pooling, MAX or AVE"
    accounts = {"spp_param": Account(read=("pyramid_height", "pool"), ignored=ENGINE)}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        message, shape = spec.param.spp_param, spec.bottoms[0]
        yield from spec.at_least_one("spp_param", "pyramid_height")
        if message.pool == pb.SPPParameter.STOCHASTIC:
            problem = "not supported: Caffe refuses it wherever a level needs padding"
            yield spec.error(problem, "spp_param.pool", "STOCHASTIC", code="unsupported")
        if len(shape) != 4 or min(shape[2:]) < 1:
            yield spec.misfit("the bottom must have 4 axes and no empty map", shape)
            return
        for level in range(min(message.pyramid_height, 32)):
            at = level_window(level, *shape[2:])
            if any(p >= k for p, k in zip(at.pad, at.kernel, strict=True)):
                problem = f"a map of {shape[2:]} is too small for 2^{level} bins a side"
                yield spec.fault(problem, "spp_param.pyramid_height", code="unsupported")
                return

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        (n, channels, *size), height = spec.bottoms[0], spec.param.spp_param.pyramid_height
        if height == 1:
            return ((n, channels, 1, 1),)
        windows = [level_window(level, *size) for level in range(height)]
        return ((n, channels * sum(w.output(size[0], 0) * w.output(size[1], 1) for w in windows)),)

    def module(self, spec: LayerSpec) -> nn.Module:
        message = spec.param.spp_param
        return SPPModule(message.pyramid_height, message.pool == pb.SPPParameter.MAX)

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        message, shape = spec.param.spp_param, onnx.bottom_shapes[0]
        sizes, largest = onnx.fixed(shape[2:]), message.pool == pb.SPPParameter.MAX
        windows = [level_window(level, *sizes) for level in range(message.pyramid_height)]
        tops = [pooled(onnx, onnx.bottoms[0], at, sizes, largest=largest) for at in windows]
        return tops if len(tops) == 1 else [onnx.node("Concat", *(onnx.node("Flatten", top) for top in tops), axis=1)]
