"""The few functions of maps that :mod:`caffe_compat.kernels.fast` computes, as a layer states them.

A layer type states its function in `Layer.function`, so that a user's own layer and a fork's can be fast, too. All
functions take maps (N, C, height, width), those of single values (N, C), too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

Pair = tuple[int, int]


def pair(value: object) -> Pair:
    """Return the numbers of a module's two axes."""
    assert isinstance(value, tuple), "modules of a net are built with a number per axis"
    return value[0], value[1]


@dataclass(frozen=True)
class Window:
    """A window: (height, width) of kernel, stride, pad and dilation."""

    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    pad: Pair = (0, 0)
    dilation: Pair = (1, 1)

    def output(self, shape: Pair) -> Pair:
        """Return height and width of a convolution's output."""
        room = (
            n + 2 * p - d * (k - 1) - 1 for n, k, p, d in zip(shape, self.kernel, self.pad, self.dilation, strict=True)
        )
        high, wide = (r // s + 1 for r, s in zip(room, self.stride, strict=True))
        return high, wide


@dataclass(frozen=True)
class Convolve:
    """Convolution by the module's `weight` (K, C / groups, h, w) and `bias` (K,) or None."""

    window: Window
    groups: int


@dataclass(frozen=True)
class ScaleChannels:
    """x scale + shift with one value for each channel: `values` returns them (C,), the shift or None, float64."""

    values: Callable[[nn.Module], tuple[torch.Tensor, torch.Tensor | None]]


@dataclass(frozen=True)
class Rectify:
    """Negative values times a slope: `slope` returns it as (C,), (1,) or a number."""

    slope: Callable[[nn.Module], torch.Tensor | float]


@dataclass(frozen=True)
class Pool:
    """The largest value or the mean of windows, or with None of the whole map.

    `output` returns height and width of the result for those of a map.
    """

    window: Window | None
    average: bool
    output: Callable[[int, int], Pair]


@dataclass(frozen=True)
class Add:
    """The sum of two or more maps."""


@dataclass(frozen=True)
class Join:
    """The channels of all maps after each other."""


@dataclass(frozen=True)
class Keep:
    """The map itself."""


@dataclass(frozen=True)
class Flatten:
    """All values of an image as channels."""


@dataclass(frozen=True)
class InnerProduct:
    """All values of an image times the module's `weight` (K, values), plus its `bias` (K,) or None."""


Function = Convolve | ScaleChannels | Rectify | Pool | Add | Join | Keep | Flatten | InnerProduct
