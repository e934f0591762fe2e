"""Convolutions that add up in genuine Caffe's order, so that their outputs are Caffe's to the last bit.

A float32 sum depends on its order. Caffe on the CPU lays the windows out as columns (channel, row, column) and
multiplies with OpenBLAS, which adds 320 products after each other, fused, then adds the blocks. Read off the recorded
runs: with that order every convolution of the authors' nets with more than one output is equal in every bit.

Why it matters: a max pooling or a ReLU decides by comparing, and two values that differ in the last bit can change
places. One such change moves a gradient by a thousandth, in any engine; Caffe's own is as far from float64's. With
Caffe's order the decisions are Caffe's, and gradients agree to 1e-6.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from caffe_compat.layers.convolution import ManyConvolutions

BLOCK = 320
"""Products that OpenBLAS's sgemm adds up before it adds to the result (its Q on the recording machine)."""


class ExactConv2d(nn.Conv2d):
    """A Conv2d that multiplies columns block by block; 2-d, any stride, pad, dilation and group."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  (torch's name)
        """Convolve (N, C, H, W)."""
        kernel, stride, pad, dilation = (_pair(v) for v in (self.kernel_size, self.stride, self.padding, self.dilation))
        weight = self.weight.contiguous().view(self.groups, self.out_channels // self.groups, -1)
        sums = []
        for image in torch.tensor_split(input.contiguous(), input.shape[0]):
            columns = F.unfold(image, kernel, dilation, pad, stride)
            groups = columns.view(self.groups, -1, columns.shape[2])
            sums.append(torch.cat([_product(w, c) for w, c in zip(weight, groups, strict=True)]))
        size = [
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(input.shape[2:], kernel, stride, pad, dilation, strict=True)
        ]
        top = torch.stack(sums).view(len(sums), self.out_channels, *size)
        return top if self.bias is None else top + self.bias[:, None, None]


ManyExactConv2d: type[ExactConv2d] = type("ManyExactConv2d", (ManyConvolutions, ExactConv2d), {})
"""The same for several bottoms, or channels at another axis."""


def _product(weight: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Return weight @ columns, the inner sums in blocks."""
    total = weight[:, :BLOCK] @ columns[:BLOCK]
    for start in range(BLOCK, weight.shape[1], BLOCK):
        total = total + weight[:, start : start + BLOCK] @ columns[start : start + BLOCK]
    return total


def _pair(value: object) -> tuple[int, int]:
    assert isinstance(value, tuple), "modules of a net are built with a number per axis"
    return value[0], value[1]


def sum_as_caffe(net: nn.Module) -> None:
    """Replace every 2-d convolution of a net by one that adds up in Caffe's order; parameters stay the same objects."""
    for module in net.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.Conv2d) and not isinstance(child, ExactConv2d):
                setattr(module, name, _exact(child))


def _exact(conv: nn.Conv2d) -> ExactConv2d:
    axis: int | None = getattr(conv, "channel_axis", None)  # of ManyConvolutions
    with torch.device("meta"):
        twin = (ExactConv2d if axis is None else ManyExactConv2d)(
            conv.in_channels,
            conv.out_channels,
            _pair(conv.kernel_size),
            _pair(conv.stride),
            _pair(conv.padding),
            _pair(conv.dilation),
            conv.groups,
            conv.bias is not None,
        )
    twin.weight, twin.bias = conv.weight, conv.bias
    if axis is not None:
        twin.channel_axis = axis  # type: ignore[assignment]  # a plain attribute
    return twin.train(conv.training)
