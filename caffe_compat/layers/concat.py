"""Concat, Split and Silence: layers that only route blobs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import Account, Arity, Layer, LayerSpec, Shape, exactly, register
from caffe_compat.layers.facts import Coordinates, Gradient, View
from caffe_compat.schema import caffe_pb2 as pb


class ConcatModule(nn.Module):
    """Join along one axis."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, *bottoms: torch.Tensor) -> torch.Tensor:
        """Return the bottoms behind each other."""
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
            yield spec.error(
                "conflicts with axis", "concat_param.concat_dim", message.concat_dim, "keep one", code="conflict"
            )
        axis = self._axis(spec)
        rest = {(*shape[:axis], 0, *shape[axis + 1 :]) for shape in spec.bottoms}
        if len(rest) > 1 or len(set(map(len, spec.bottoms))) > 1:
            yield spec.error(
                f"the bottoms must have equal shapes except on axis {axis}",
                "bottom",
                spec.bottoms,
                code="shape-mismatch",
            )

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        axis, first = self._axis(spec), spec.bottoms[0]
        return ((*first[:axis], sum(shape[axis] for shape in spec.bottoms), *first[axis + 1 :]),)

    def module(self, spec: LayerSpec) -> nn.Module:
        return ConcatModule(self._axis(spec))

    def _axis(self, spec: LayerSpec) -> int:
        message = spec.param.concat_param
        if message.HasField("concat_dim"):
            return spec.axis(message.concat_dim, "concat_param.concat_dim")
        return spec.axis(message.axis, "concat_param.axis")

    def top_view(self, param: pb.LayerParameter) -> View:
        return View.VALUES_AND_GRADIENTS if len(param.bottom) == 1 else View.NONE


class SplitModule(nn.Module):
    """The same blob under several names."""

    def __init__(self, tops: int) -> None:
        super().__init__()
        self.tops = tops

    def forward(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Return `x` as every top."""
        return (x,) * self.tops if self.tops > 1 else x


@register
class Split(Layer):
    """One blob under several names; gradients add up."""

    type = "Split"
    summary = "one blob under several names"
    view = View.VALUES
    keeps_values = True
    coordinates = Coordinates.SAME
    tops = Arity(1, None)

    def module(self, spec: LayerSpec) -> nn.Module:
        return SplitModule(len(spec.param.top))


@register
class Silence(Layer):
    """Takes blobs that nobody reads, so that they are no outputs."""

    type = "Silence"
    summary = "consumes blobs and has no top"
    gradient = Gradient.STOPS
    bottoms = Arity(1, None)
    tops = exactly(0)
    inference = False
