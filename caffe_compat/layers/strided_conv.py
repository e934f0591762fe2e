"""A 1 x 1 convolution with a stride and few input channels, without oneDNN's error in its gradient.

Its weight gradient writes beyond its memory and the process dies (torch 2.13 on the CPU: (16, 8, 60, 60) to 16 channels
with stride 2, mini-XCEPTION's conv2d_3; not seen from 12 input channels on).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

_SAFE = 16  # input channels


class PointConv2d(nn.Conv2d):
    """A 1 x 1 Conv2d that, where a gradient is asked for, picks the places of its stride before it multiplies."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  (torch's name)
        """Convolve (N, C, H, W)."""
        if not torch.is_grad_enabled():
            return super().forward(input)
        rows, columns = self.stride
        return F.conv2d(input[:, :, ::rows, ::columns], self.weight, self.bias)


def needs_care(conv: nn.Module) -> bool:
    """Tell whether a module is such a convolution."""
    return (
        type(conv) is nn.Conv2d
        and conv.kernel_size == (1, 1)
        and conv.stride != (1, 1)
        and conv.padding == (0, 0)
        and conv.groups == 1
        and conv.in_channels < _SAFE
    )
