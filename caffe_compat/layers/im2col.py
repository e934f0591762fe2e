"""Im2col: what a convolution's kernel sees, as columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import Account, Layer, LayerSpec, Shape, count, register
from caffe_compat.layers.convolution import WINDOW_FIELDS, KernelWindow, window, written
from caffe_compat.layers.facts import Coordinates, OnnxWriter


class Im2colModule(nn.Module):
    """Every value that each kernel position sees; channels outermost, then the kernel's positions."""

    def __init__(self, window: KernelWindow) -> None:
        super().__init__()
        self.window = window

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (..., C k_1 ... k_n, out_1, ..., out_n)."""
        at, axis = self.window, self.window.axis
        spatial = x.shape[axis + 1 :]
        ends = zip(at.pad, at.overhang(tuple(spatial)), strict=True)
        y = F.pad(x, [p for pad, overhang in reversed(list(ends)) for p in (pad, pad + overhang)])
        for i, (size, k, s, d) in enumerate(
            zip(at.output(tuple(spatial)), at.kernel, at.stride, at.dilation, strict=True)
        ):
            # Axis i of the map becomes (kernel position, output position); earlier axes are done and lie to its left.
            where = axis + 1 + 2 * i
            starts = torch.arange(size, device=x.device) * s
            index = torch.arange(k, device=x.device)[:, None] * d + starts
            y = y.index_select(where, index.flatten())
            y = y.reshape(*y.shape[:where], k, size, *y.shape[where + 1 :])
        n = len(at.kernel)
        order = [*range(axis + 1), *(axis + 1 + 2 * i for i in range(n)), *(axis + 2 + 2 * i for i in range(n))]
        return y.permute(order).flatten(axis, axis + n)


@register
class Im2col(Layer):
    """The columns a convolution multiplies, without the convolution."""

    type = "Im2col"
    summary = "columns of a convolution"
    ignores_propagate_down = True
    coordinates = Coordinates.WINDOW
    accounts = {
        "convolution_param": Account(
            read=WINDOW_FIELDS,
            ignored={
                **dict.fromkeys(
                    ("num_output", "bias_term", "group", "weight_filler", "bias_filler"), "Caffe does not read it here"
                ),
                **dict.fromkeys(("engine", "force_nd_im2col"), "chooses among kernels that compute the same"),
            },
        )
    }

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        at = window(spec)
        if min(at.output(spec.bottoms[0][at.axis + 1 :])) < 1:
            problem = f"the kernel is larger than the padded bottom {spec.bottoms[0]}"
            yield spec.error(problem, "convolution_param", at.kernel, code="shape-mismatch")

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        at, shape = window(spec), spec.bottoms[0]
        return ((*shape[: at.axis], shape[at.axis] * count(at.kernel), *at.output(shape[at.axis + 1 :])),)

    def module(self, spec: LayerSpec) -> nn.Module:
        return Im2colModule(window(spec))

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        at, channels = window(spec), spec.bottoms[0][window(spec).axis]
        taps = count(at.kernel)
        seen = np.eye(taps, dtype=np.float32).reshape(taps, 1, *at.kernel)  # one filter for each position
        return written(onnx, spec, "Conv", np.tile(seen, (channels, 1, *[1] * len(at.kernel))), group=channels)
