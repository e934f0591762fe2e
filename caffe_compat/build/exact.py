"""Convolutions and inner products that add up in genuine Caffe's order: Caffe's outputs, to the last bit.

A float32 sum depends on its order. Caffe on the CPU lays the windows out as columns (channel, row, column) and
multiplies with OpenBLAS, which adds 320 products after each other, fused, then adds the blocks. Inferred from recorded
runs; :mod:`caffe_compat.kernels` does the same on every processor, with any number of threads.

Why it matters: a max pooling or a ReLU decides by comparing, and two values that differ in the last bit can change
places. One such change moves a gradient by a thousandth, in any engine; Caffe's own is as far from float64's. With
Caffe's order the decisions are Caffe's, and gradients agree to 1e-6.

float32 on the CPU only: other types, and other devices, get torch's own kernels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from caffe_compat.kernels.ops import convolution, inner_product
from caffe_compat.layers.convolution import ManyConvolutions
from caffe_compat.layers.functions import pair
from caffe_compat.layers.inner_product import FlattenLinear
from caffe_compat.runtime.tensors import is_transformed


class ExactConv2d(nn.Conv2d):
    """A Conv2d whose sums are Caffe's; any stride, pad, dilation and group."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  (torch's name)
        """Convolve (N, C, H, W)."""
        if not _ordered(input, self.weight):
            return super().forward(input)
        pad, stride, dilation = (pair(v) for v in (self.padding, self.stride, self.dilation))
        x = F.pad(input, (pad[1], pad[1], pad[0], pad[0])) if any(pad) else input
        top: torch.Tensor = convolution(x, self.weight, self.bias, stride, dilation, self.groups)
        return top


ManyExactConv2d: type[ExactConv2d] = type("ManyExactConv2d", (ManyConvolutions, ExactConv2d), {})
"""The same for several bottoms, or channels at another axis."""


class ExactLinear(FlattenLinear):
    """An inner product whose sums are Caffe's."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x[..., flattened] weight' + bias."""
        if not _ordered(x, self.weight):
            return super().forward(x)
        rows = x.reshape(-1, self.in_features)
        top: torch.Tensor = inner_product(rows, self.weight, self.bias)
        return top.view(*x.shape[: self.axis], self.out_features)


def _ordered(x: torch.Tensor, weight: torch.Tensor) -> bool:
    alike = x.dtype == weight.dtype == torch.float32 and x.device.type == weight.device.type == "cpu"
    return alike and not is_transformed()


def sum_as_caffe(net: nn.Module) -> None:
    """Let 2-d convolutions and inner products of a net add up in Caffe's order; parameters stay the same objects."""
    for module in net.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.Conv2d) and not isinstance(child, ExactConv2d):
                setattr(module, name, _exact_convolution(child))
            elif type(child) is FlattenLinear:
                setattr(module, name, _exact_linear(child))


def _exact_convolution(conv: nn.Conv2d) -> ExactConv2d:
    axis: int | None = getattr(conv, "channel_axis", None)  # of ManyConvolutions
    with torch.device("meta"):
        twin = (ExactConv2d if axis is None else ManyExactConv2d)(
            conv.in_channels,
            conv.out_channels,
            pair(conv.kernel_size),
            pair(conv.stride),
            pair(conv.padding),
            pair(conv.dilation),
            conv.groups,
            conv.bias is not None,
        )
    twin.weight, twin.bias = conv.weight, conv.bias
    if axis is not None:
        twin.channel_axis = axis  # type: ignore[assignment]  # a plain attribute
        twin.window = conv.window
    return twin.train(conv.training)


def _exact_linear(linear: FlattenLinear) -> ExactLinear:
    with torch.device("meta"):
        twin = ExactLinear(linear.in_features, linear.out_features, linear.bias is not None, linear.axis)
    twin.weight, twin.bias = linear.weight, linear.bias
    return twin.train(linear.training)
