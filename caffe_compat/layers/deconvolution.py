"""Deconvolution: a convolution's gradient as a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import BlobDef, LayerSpec, Shape, register
from caffe_compat.layers.convolution import Convolution, KernelWindow, constructor, window, written
from caffe_compat.layers.facts import Coordinates, OnnxWriter

_KINDS: dict[int, Callable[..., nn.Module]] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


class DeconvolutionModule(nn.Module):
    """Several bottoms through one transposed convolution, channels at any axis."""

    def __init__(self, transposed: nn.Module, channel_axis: int) -> None:
        super().__init__()
        self.transposed, self.channel_axis = transposed, channel_axis

    def forward(self, *bottoms: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Deconvolve every bottom."""
        tops = tuple(self._one(x) for x in bottoms)
        return tops if len(tops) > 1 else tops[0]

    def _one(self, x: torch.Tensor) -> torch.Tensor:
        lead = self.channel_axis
        y: torch.Tensor = self.transposed(x.flatten(0, lead - 1) if lead else x.unsqueeze(0))
        return y.reshape(*x.shape[:lead], *y.shape[1:]) if lead else y[0]


def _output(at: KernelWindow, spatial: Shape) -> Shape:
    """Return the spatial shape of the top."""
    return tuple(
        s * (size - 1) + d * (k - 1) + 1 - 2 * p
        for size, k, s, p, d in zip(spatial, at.kernel, at.stride, at.pad, at.dilation, strict=True)
    )


@register
class Deconvolution(Convolution):
    """Transposed convolution with learned filters, as torch's ConvTranspose1d, 2d or 3d; fields as Convolution's."""

    type = "Deconvolution"
    summary = "transposed N-d convolution: stride, pad, dilation, group (1 to 3 spatial axes)"
    coordinates = Coordinates.TRANSPOSED_WINDOW

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        at = window(spec)
        for error in super().check(spec):
            if error.field != "convolution_param":  # the kernel may be larger than the bottom
                yield error
        if min(_output(at, spec.bottoms[0][at.axis + 1 :])) < 1:
            yield spec.error("leaves an empty top", "convolution_param.pad", at.pad, code="shape-mismatch")

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        at = window(spec)
        return tuple(
            (*shape[: at.axis], spec.param.convolution_param.num_output, *_output(at, shape[at.axis + 1 :]))
            for shape in spec.bottoms
        )

    def blobs(self, spec: LayerSpec) -> tuple[BlobDef, ...]:
        message, at = spec.param.convolution_param, window(spec)
        shape = (spec.bottoms[0][at.axis], message.num_output // message.group, *at.kernel)
        return self.weight_and_bias(spec, shape, prefix="" if self._plain(spec) else "transposed.")

    def module(self, spec: LayerSpec) -> nn.Module:
        transposed = constructor(spec, _KINDS)()
        return transposed if self._plain(spec) else DeconvolutionModule(transposed, window(spec).axis)

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        return written(onnx, spec, "ConvTranspose", *onnx.blobs, group=spec.param.convolution_param.group)

    def _plain(self, spec: LayerSpec) -> bool:
        return len(spec.bottoms) == 1 and window(spec).axis == 1

    def macs(self, spec: LayerSpec) -> int:
        return self._macs(spec, spec.bottoms)
