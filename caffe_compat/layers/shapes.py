"""Layers that only move values: Crop, Flatten, Reshape, Tile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers import functions
from caffe_compat.layers.base import Account, Layer, LayerSpec, Shape, count, exactly, register
from caffe_compat.layers.facts import Coordinates, OnnxWriter, View


class CropModule(nn.Module):
    """Cut a block of the second bottom's size out of the first."""

    def __init__(self, axis: int, offsets: Shape) -> None:
        super().__init__()
        self.axis, self.offsets = axis, offsets

    def forward(self, x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Return the block of `x` from the offsets on."""
        for axis, offset in enumerate(self.offsets, self.axis):
            x = x.narrow(axis, offset, like.shape[axis])
        return x


@register
class Crop(Layer):
    """The part of the first bottom, from `axis` on, that is as large as the second."""

    type = "Crop"
    summary = "crops to another blob's size; axis, offset"
    keeps_values = True
    coordinates = Coordinates.OFFSET
    bottoms = exactly(2)
    accounts = {"crop_param": Account(read=("axis", "offset"))}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        (x, like), axis = spec.bottoms, spec.axis("crop_param.axis")
        given = spec.param.crop_param.offset
        if len(given) > 1 and axis + len(given) != len(x):
            problem = "needs one offset, or one per cropped axis"
            yield spec.fault(problem, "crop_param.offset", f"{len(x) - axis} values", code="wrong-count")
        elif len(like) < len(x):
            yield spec.misfit("the second bottom must have at least as many axes as the first", spec.bottoms)
        elif any(x[axis + i] - o < like[axis + i] for i, o in enumerate(self._offsets(spec))):
            problem = f"the cropped block is not within the bottom {x}"
            yield spec.error(problem, "crop_param.offset", self._offsets(spec), f"size {like}", code="shape-mismatch")

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        (x, like), axis = spec.bottoms, spec.axis("crop_param.axis")
        return ((*x[:axis], *like[axis : len(x)]),)

    def module(self, spec: LayerSpec) -> nn.Module:
        return CropModule(spec.axis("crop_param.axis"), self._offsets(spec))

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        x, like = onnx.bottoms
        axis, offsets = spec.axis("crop_param.axis"), self._offsets(spec)
        axes = range(axis, axis + len(offsets))
        size = onnx.node("Slice", onnx.node("Shape", like), [axis], [axis + len(offsets)])
        return [onnx.node("Slice", x, offsets, onnx.node("Add", size, offsets), axes)]

    def _offsets(self, spec: LayerSpec) -> Shape:
        given, axes = list(spec.param.crop_param.offset), len(spec.bottoms[0]) - spec.axis("crop_param.axis")
        return tuple(given if len(given) > 1 else (given or [0]) * axes)


class FlattenModule(nn.Module):
    """Merge several axes."""

    def __init__(self, start: int, end: int) -> None:
        super().__init__()
        self.start, self.end = start, end

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return `x` with axes `start` to `end` as one (an axis of 1 where there are none)."""
        return x.flatten(self.start, self.end) if self.start <= self.end else x.unsqueeze(self.start)


@register
class Flatten(Layer):
    """Axes `axis` to `end_axis` as one."""

    type = "Flatten"
    summary = "merges axes; axis, end_axis"
    view = View.VALUES_THEN_GRADIENTS
    keeps_values = True
    ignores_propagate_down = True
    accounts = {"flatten_param": Account(read=("axis", "end_axis"))}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        yield from spec.only_apart()
        start, end = self._axes(spec)
        if start > end + 1:
            yield spec.error(
                "must not come before axis", "flatten_param.end_axis", end, f"{start} or more", code="out-of-range"
            )

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        (start, end), shape = self._axes(spec), spec.bottoms[0]
        return ((*shape[:start], count(shape[start : end + 1]), *shape[end + 1 :]),)

    def function(self, spec: LayerSpec) -> functions.Flatten | None:
        shape = spec.bottoms[0]
        return functions.Flatten() if len(shape) in {2, 4} and self._axes(spec) == (1, len(shape) - 1) else None

    def module(self, spec: LayerSpec) -> nn.Module:
        return FlattenModule(*self._axes(spec))

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        return [onnx.as_top(onnx.bottoms[0])]

    def _axes(self, spec: LayerSpec) -> tuple[int, int]:
        return spec.axis("flatten_param.axis"), spec.axis("flatten_param.end_axis")


class ReshapeModule(nn.Module):
    """Other dimensions for the axes `start` to `end`: 0 keeps a dimension, -1 infers it."""

    def __init__(self, dims: Shape, start: int, end: int) -> None:
        super().__init__()
        self.dims, self.start, self.end = dims, start, end

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return `x` in its new shape."""
        dims = (x.shape[self.start + i] if dim == 0 else dim for i, dim in enumerate(self.dims))
        return x.reshape(*x.shape[: self.start], *dims, *x.shape[self.end :])


@register
class Reshape(Layer):
    """The same values in another shape."""

    type = "Reshape"
    summary = "another shape: 0 copies, -1 infers; axis, num_axes"
    view = View.VALUES_AND_GRADIENTS
    keeps_values = True
    ignores_propagate_down = True
    accounts = {"reshape_param": Account(read=("shape", "axis", "num_axes"))}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        yield from spec.only_apart()
        (start, end), shape, dims = self._range(spec), spec.bottoms[0], self._dims(spec)
        if dims.count(-1) > 1 or any(dim < -1 for dim in dims):
            yield spec.error(
                "needs at most one -1 and no smaller value", "reshape_param.shape", dims, code="out-of-range"
            )
        elif any(dim == 0 and start + i >= len(shape) for i, dim in enumerate(dims)):
            problem = f"0 copies an axis that the bottom {shape} does not have"
            yield spec.error(problem, "reshape_param.shape", dims, code="shape-mismatch")
        else:
            rest = count(self._copied(spec)) * count(shape[:start]) * count(shape[end:])
            fits = rest and count(shape) % rest == 0 if -1 in dims else rest == count(shape)
            if not fits:
                problem = f"does not have as many values as the bottom {shape}"
                yield spec.error(problem, "reshape_param.shape", dims, code="shape-mismatch")

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        (start, end), shape = self._range(spec), spec.bottoms[0]
        rest = count(self._copied(spec)) * count(shape[:start]) * count(shape[end:])
        dims = self._copied(spec, count(shape) // max(rest, 1))
        return ((*shape[:start], *dims, *shape[end:]),)

    def function(self, spec: LayerSpec) -> functions.Flatten | None:
        shape = spec.bottoms[0]
        flat = self._range(spec) == (0, len(shape)) and tuple(self._dims(spec)) == (0, -1)
        return functions.Flatten() if flat and len(shape) in {2, 4} else None

    def module(self, spec: LayerSpec) -> nn.Module:
        return ReshapeModule(self._dims(spec), *self._range(spec))

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        return [onnx.as_top(onnx.bottoms[0])]

    def _dims(self, spec: LayerSpec) -> Shape:
        return tuple(spec.param.reshape_param.shape.dim)

    def _copied(self, spec: LayerSpec, inferred: int = 1) -> Shape:
        shape, (start, _) = spec.bottoms[0], self._range(spec)
        sizes = {-1: inferred}
        return tuple(shape[start + i] if dim == 0 else sizes.get(dim, dim) for i, dim in enumerate(self._dims(spec)))

    def _range(self, spec: LayerSpec) -> tuple[int, int]:
        message, rank = spec.param.reshape_param, len(spec.bottoms[0])
        start = message.axis if message.axis >= 0 else rank + message.axis + 1
        if not 0 <= start <= rank:
            raise spec.fault(f"the bottom has {rank} axes", "reshape_param.axis")
        end = rank if message.num_axes == -1 else start + message.num_axes
        if not start <= end <= rank:
            raise spec.fault(f"the bottom has {rank} axes", "reshape_param.num_axes")
        return start, end


class TileModule(nn.Module):
    """Repeat along one axis."""

    def __init__(self, axis: int, tiles: int) -> None:
        super().__init__()
        self.axis, self.tiles = axis, tiles

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return `tiles` copies of `x` along the axis."""
        return torch.cat([x] * self.tiles, self.axis)


@register
class Tile(Layer):
    """Copies of a blob along one axis."""

    type = "Tile"
    summary = "repeats along an axis"
    keeps_values = True
    accounts = {"tile_param": Account(read=("axis", "tiles"))}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        yield from spec.at_least_one("tile_param", "tiles")

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        axis, shape = spec.axis("tile_param.axis"), spec.bottoms[0]
        return ((*shape[:axis], shape[axis] * spec.param.tile_param.tiles, *shape[axis + 1 :]),)

    def module(self, spec: LayerSpec) -> nn.Module:
        return TileModule(spec.axis("tile_param.axis"), spec.param.tile_param.tiles)

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        repeats = [1] * len(spec.bottoms[0])
        repeats[spec.axis("tile_param.axis")] = spec.param.tile_param.tiles
        return [onnx.node("Tile", onnx.bottoms[0], repeats)]
