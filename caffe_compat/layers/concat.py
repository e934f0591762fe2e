"""Concat and Slice, which join and cut blobs along one axis; Split and Silence, which give blobs more or no readers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import Account, Arity, Layer, LayerSpec, Shape, exactly, register
from caffe_compat.layers.facts import Coordinates, Gradient, OnnxWriter, View
from caffe_compat.layers.functions import Join
from caffe_compat.schema import caffe_pb2 as pb


class ConcatModule(nn.Module):
    """Join along one axis."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, *bottoms: torch.Tensor) -> torch.Tensor:
        """Return the concatenated bottoms."""
        return torch.cat(bottoms, self.axis)


@register
class Concat(Layer):
    """Join blobs along one axis."""

    type = "Concat"
    summary = "joins blobs along an axis"
    keeps_values = True
    bottoms = Arity(1, None)
    accounts = {"concat_param": Account(read=("axis", "concat_dim"))}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        message = spec.param.concat_param
        if message.HasField("axis") and message.HasField("concat_dim"):
            yield spec.fault("conflicts with axis", "concat_param.concat_dim", "keep one", code="conflict")
        axis = self._axis(spec)
        rest = {(*shape[:axis], 0, *shape[axis + 1 :]) for shape in spec.bottoms}
        if len(rest) > 1 or len(set(map(len, spec.bottoms))) > 1:
            yield spec.misfit(f"the bottoms must have equal shapes except on axis {axis}", spec.bottoms)

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        axis, first = self._axis(spec), spec.bottoms[0]
        return ((*first[:axis], sum(shape[axis] for shape in spec.bottoms), *first[axis + 1 :]),)

    def function(self, spec: LayerSpec) -> Join | None:
        return Join() if self._axis(spec) == 1 and len(spec.bottoms[0]) in {2, 4} else None

    def module(self, spec: LayerSpec) -> nn.Module:
        return ConcatModule(self._axis(spec))

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        return [onnx.node("Concat", *onnx.bottoms, axis=self._axis(spec))]

    def _axis(self, spec: LayerSpec) -> int:
        message = spec.param.concat_param
        if message.HasField("concat_dim"):
            return spec.axis("concat_param.concat_dim")
        return spec.axis("concat_param.axis")

    def top_view(self, param: pb.LayerParameter) -> View:
        return View.VALUES_AND_GRADIENTS if len(param.bottom) == 1 else View.NONE


class SliceModule(nn.Module):
    """Cut along one axis, at points or in equal parts."""

    def __init__(self, axis: int, points: Shape, tops: int) -> None:
        super().__init__()
        self.axis, self.points, self.tops = axis, points, tops

    def forward(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Return the parts."""
        if self.tops == 1:
            return x
        if self.points:
            return x.tensor_split(self.points, self.axis)
        return x.chunk(self.tops, self.axis)


@register
class Slice(Layer):
    """Cut a blob into consecutive parts along one axis."""

    type = "Slice"
    summary = "splits along an axis; slice_point"
    keeps_values = True
    tops = Arity(1, None)
    accounts = {"slice_param": Account(read=("axis", "slice_dim", "slice_point"))}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        message, tops = spec.param.slice_param, len(spec.param.top)
        length = spec.bottoms[0][self._axis(spec)]
        points = list(message.slice_point)
        if message.HasField("axis") and message.HasField("slice_dim"):
            yield spec.fault("conflicts with axis", "slice_param.slice_dim", "keep one", code="conflict")
        if points and len(points) != tops - 1:
            problem = f"needs one point fewer than tops ({tops - 1}), got {len(points)}"
            yield spec.fault(problem, "slice_param.slice_point", code="wrong-count")
        elif any(b <= a for a, b in zip([0, *points], [*points, length], strict=True)):
            yield spec.fault("must increase within the axis", "slice_param.slice_point", f"1 to {length - 1}")
        elif not points and length % tops:
            problem = f"the axis has length {length}, which {tops} tops cannot divide equally"
            yield spec.fault(problem, "slice_param.slice_point", code="shape-mismatch")

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        axis, shape, tops = self._axis(spec), spec.bottoms[0], len(spec.param.top)
        points = list(spec.param.slice_param.slice_point) or [shape[axis] // tops * i for i in range(1, tops)]
        sizes = [b - a for a, b in zip([0, *points], [*points, shape[axis]], strict=True)]
        return tuple((*shape[:axis], size, *shape[axis + 1 :]) for size in sizes)

    def module(self, spec: LayerSpec) -> nn.Module:
        return SliceModule(self._axis(spec), tuple(spec.param.slice_param.slice_point), len(spec.param.top))

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        axis, tops = self._axis(spec), len(spec.param.top)
        if tops == 1:
            return onnx.bottoms
        sizes: list[Sequence[int]] = []  # without them, equal parts
        if spec.param.slice_param.slice_point:
            sizes = [onnx.fixed(tuple(shape[axis] for shape in onnx.top_shapes))]
        return onnx.nodes("Split", onnx.bottoms[0], *sizes, outputs=tops, axis=axis)

    def _axis(self, spec: LayerSpec) -> int:
        message = spec.param.slice_param
        if message.HasField("slice_dim"):
            return spec.axis("slice_param.slice_dim")
        return spec.axis("slice_param.axis")

    def top_view(self, param: pb.LayerParameter) -> View:
        return View.VALUES_AND_GRADIENTS if len(param.top) == 1 else View.NONE


@register
class Split(Layer):
    """One blob under several names; gradients add up."""

    type = "Split"
    summary = "one blob under several names"
    view = View.VALUES
    keeps_values = True
    coordinates = Coordinates.SAME
    tops = Arity(1, None)

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        return [onnx.bottoms[0]] * len(spec.param.top)


@register
class Silence(Layer):
    """Takes blobs that no other layer reads, so that they are no outputs."""

    type = "Silence"
    summary = "consumes blobs and has no top"
    gradient = Gradient.STOPS
    bottoms = Arity(1, None)
    tops = exactly(0)
    inference = False

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        return []
