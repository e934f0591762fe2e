"""Split and Silence: one blob under several names, and a reader for blobs that no layer reads."""

from __future__ import annotations

import torch
from torch import nn

from caffe_compat.layers.base import Arity, Layer, LayerSpec, exactly, register
from caffe_compat.layers.facts import Coordinates, Gradient, View


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
