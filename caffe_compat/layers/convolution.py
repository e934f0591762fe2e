"""Convolution, over one to three spatial axes, and Im2col: the windows of a convolution, as columns.

Modules of its own are a faster convolution for few outputs (one matrix product, then shifted sums), and a 1 x 1
convolution with a stride and few input channels, without oneDNN's error in its gradient: the weight gradient writes
beyond its memory and the process dies (torch 2.13 on the CPU: (16, 8, 60, 60) to 16 channels with stride 2,
mini-XCEPTION's conv2d_3; not seen from 12 input channels on).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import ENGINE, Account, Arity, BlobDef, Layer, LayerSpec, Shape, count, register
from caffe_compat.layers.facts import Coordinates, Drawing, OnnxWriter, Operand, Reads, drawn_extent, drawn_window
from caffe_compat.layers.functions import Convolve, Window
from caffe_compat.schema import caffe_pb2 as pb

FEW = 4
"""Up to this many outputs it beats torch's own kernels (on SRCNN's conv4, 256 to 1: 5 to 8 times as fast forward)."""


class FewOutputsConv2d(nn.Conv2d):
    """A Conv2d (stride 1, dilation 1, one group) that multiplies before it shifts.

    Every tap of the kernel is a product over the channels; the taps are then added where they belong. The sums are
    shorter than a convolution's: on SRCNN's conv4 the error falls from 4e-6 to 6e-7 of the largest value.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  (torch's name)
        """Convolve (N, C, H, W)."""
        assert isinstance(self.padding, tuple), "modules of a net are built with a number per axis"
        rows, columns = self.kernel_size
        x = (
            F.pad(input, (self.padding[1], self.padding[1], self.padding[0], self.padding[0]))
            if any(self.padding)
            else input
        )
        n, channels, height, width = x.shape
        if type(height) is type(width) is int and (height < rows or width < columns):  # not traced
            raise RuntimeError(f"the kernel ({rows} x {columns}) is larger than the padded input ({height} x {width})")
        weight = self.weight.permute(0, 2, 3, 1).reshape(-1, channels)
        taps = weight @ x.permute(0, 2, 3, 1).reshape(-1, channels).t()
        taps = taps.view(self.out_channels, rows, columns, n, height, width)
        high, wide = height - rows + 1, width - columns + 1
        shifted = [taps[:, i, j, :, i : i + high, j : j + wide] for i in range(rows) for j in range(columns)]
        top = shifted[0]
        for part in shifted[1:]:
            top = top + part
        top = top.transpose(0, 1)
        return top if self.bias is None else top + self.bias[:, None, None]


def suits(conv: nn.Module) -> bool:
    """Tell whether this module computes a convolution faster than torch."""
    return (
        type(conv) is nn.Conv2d
        and conv.out_channels <= FEW < conv.in_channels
        and conv.stride == conv.dilation == (1, 1)
        and conv.groups == 1
        and conv.kernel_size != (1, 1)
    )


_SAFE = 16  # input channels


class PointConv2d(nn.Conv2d):
    """A 1 x 1 Conv2d that, where a gradient is needed, picks the places of its stride before it multiplies."""

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


_CONVS: dict[int, type[nn.Conv1d | nn.Conv2d | nn.Conv3d]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_PAIRS = {"kernel_size": ("kernel_h", "kernel_w"), "stride": ("stride_h", "stride_w"), "pad": ("pad_h", "pad_w")}
_DEFAULTS = {"stride": 1, "pad": 0, "dilation": 1}


@dataclass(frozen=True)
class KernelWindow:
    """Where a convolution's kernel goes: one number per spatial axis."""

    axis: int
    kernel: Shape
    stride: Shape
    pad: Shape
    dilation: Shape

    def output(self, spatial: Shape) -> Shape:
        """Return the spatial shape of the top.

        C++ rounds towards zero: a kernel that reaches beyond the padded bottom by less than a stride has one output.
        """
        return tuple(
            (room // s if room >= 0 else -(-room // s)) + 1
            for room, s in zip(self._room(spatial), self.stride, strict=True)
        )

    def overhang(self, spatial: Shape) -> Shape:
        """Return how far such a kernel reaches beyond the padded bottom: Caffe reads zeros there."""
        return tuple(max(-room, 0) for room in self._room(spatial))

    def _room(self, spatial: Shape) -> Shape:
        return tuple(
            size + 2 * p - (d * (k - 1) + 1)
            for size, k, p, d in zip(spatial, self.kernel, self.pad, self.dilation, strict=True)
        )


WINDOW_FIELDS = (
    *("pad", "kernel_size", "stride", "dilation", "axis"),
    *("pad_h", "pad_w", "kernel_h", "kernel_w", "stride_h", "stride_w"),
)
"""The fields of convolution_param that :func:`window` reads."""


def _per_axis(spec: LayerSpec, name: str, axes: int) -> Shape:
    """Return a repeated field (once, or once per spatial axis) or its _h/_w pair."""
    message = spec.param.convolution_param
    values = list(getattr(message, name))
    pair = list(_PAIRS.get(name, ()))
    where = f"convolution_param.{name}"
    if any(message.HasField(p) for p in pair):
        if axes != 2:
            raise spec.error("the _h and _w fields need 2 spatial axes", where, axes, code="shape-mismatch")
        if values:
            raise spec.error(f"conflicts with {pair[0]} and {pair[1]}", where, values, "keep one form", code="conflict")
        values = [getattr(message, p) for p in pair]
    elif not values and name in _DEFAULTS:
        values = [_DEFAULTS[name]]
    if len(values) == 1:
        values *= axes
    if len(values) != axes:
        raise spec.error(
            "needs one value, or one per spatial axis", where, values, f"1 or {axes} values", code="wrong-count"
        )
    if min(values) < (0 if name == "pad" else 1):
        raise spec.error("must be positive", where, values, code="out-of-range")
    return tuple(values)


def window(spec: LayerSpec) -> KernelWindow:
    """Return the window of a Convolution layer."""
    axis = spec.axis("convolution_param.axis")
    axes = len(spec.bottoms[0]) - axis - 1
    if axes not in _CONVS:
        problem = f"the bottom {spec.bottoms[0]} has {axes} spatial axes after it, expected 1 to 3"
        raise spec.error(problem, "convolution_param.axis", axis, code="unsupported")
    names = ("kernel_size", "stride", "pad", "dilation")
    return KernelWindow(axis, *(_per_axis(spec, name, axes) for name in names))


def written(onnx: OnnxWriter, spec: LayerSpec, operator: str, *blobs: Operand, group: int) -> list[str]:
    """Write Conv or ConvTranspose for every bottom, with its channels at any axis."""
    at, tops = window(spec), list[str]()
    reach = [0] * len(at.pad) if operator == "ConvTranspose" else at.overhang(spec.bottoms[0][at.axis + 1 :])
    pads = [*at.pad, *(pad + zeros for pad, zeros in zip(at.pad, reach, strict=True))]
    places = {"kernel_shape": at.kernel, "strides": at.stride, "pads": pads, "dilations": at.dilation}
    for index, x in enumerate(onnx.bottoms):
        if at.axis != 1:
            x = onnx.node("Reshape", x, [-1, *onnx.fixed(onnx.bottom_shapes[index][at.axis :])])
        y = onnx.node(operator, x, *blobs, **places, group=group)
        tops.append(y if at.axis == 1 else onnx.as_top(y, index))
    return tops


def constructor(spec: LayerSpec, kinds: Mapping[int, Callable[..., nn.Module]]) -> functools.partial[nn.Module]:
    """Return the call that makes a layer's torch module, of `kinds` by the number of spatial axes."""
    message, at = spec.param.convolution_param, window(spec)
    return functools.partial(
        kinds[len(at.kernel)],
        spec.bottoms[0][at.axis],
        message.num_output,
        at.kernel,
        stride=at.stride,
        padding=at.pad,
        dilation=at.dilation,
        groups=message.group,
        bias=message.bias_term,
    )


class ManyConvolutions(nn.Module):
    """Mixin for torch convolutions: several bottoms through one kernel, channels at any axis, zeros beyond the end."""

    channel_axis = 1
    window: KernelWindow | None = None
    """Set where the kernel reaches beyond the padded bottom."""

    def forward(self, *bottoms: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Convolve every bottom."""
        lead = self.channel_axis
        maps = (x.flatten(0, lead - 1) if lead else x.unsqueeze(0) for x in map(self._reached, bottoms))
        tops = tuple(super(ManyConvolutions, self).forward(x) for x in maps)
        tops = tuple(y.unflatten(0, x.shape[:lead]) if lead else y[0] for x, y in zip(bottoms, tops, strict=True))
        return tops if len(tops) > 1 else tops[0]

    def _reached(self, x: torch.Tensor) -> torch.Tensor:
        if self.window is None:
            return x
        overhang = self.window.overhang(tuple(x.shape[self.channel_axis + 1 :]))
        return F.pad(x, [zeros for size in reversed(overhang) for zeros in (0, size)])


# Each under its own name in this module, so that nets can be pickled.
ManyConv1d = type("ManyConv1d", (ManyConvolutions, nn.Conv1d), {})
ManyConv2d = type("ManyConv2d", (ManyConvolutions, nn.Conv2d), {})
ManyConv3d = type("ManyConv3d", (ManyConvolutions, nn.Conv3d), {})
_MANY = {1: ManyConv1d, 2: ManyConv2d, 3: ManyConv3d}


@register
class Convolution(Layer):
    """Cross-correlation with learned filters, as torch's Conv1d, Conv2d or Conv3d."""

    type = "Convolution"
    summary = "N-d convolution: stride, pad, dilation, group (1 to 3 spatial axes)"
    reads = Reads.BOTTOM
    weight_message = "convolution_param"
    coordinates = Coordinates.WINDOW
    drawing = Drawing("#FF5050", lr_mult=True)
    free_outputs = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    bottoms = Arity(1, None)
    tops = Arity(1, None)
    accounts = {
        "convolution_param": Account(
            read=(*WINDOW_FIELDS, "num_output", "bias_term", "group", "weight_filler", "bias_filler"),
            ignored={**ENGINE, "force_nd_im2col": ENGINE["engine"]},
        )
    }

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        message = spec.param.convolution_param
        if len(spec.param.top) != len(spec.bottoms):
            problem = f"needs one top per bottom ({len(spec.bottoms)}), got {len(spec.param.top)}"
            yield spec.error(problem, "top", list(spec.param.top), code="wrong-count")
        if any(shape != spec.bottoms[0] for shape in spec.bottoms):
            yield spec.misfit("the bottoms must have the same shape", spec.bottoms)
        yield from spec.at_least_one("convolution_param", "num_output")
        group = message.group
        channels = spec.bottoms[0][spec.axis("convolution_param.axis")]
        if channels < 1:
            yield spec.misfit("the bottom has no channels", spec.bottoms[0])
        if group < 1 or channels % group or message.num_output % group:
            problem = f"must divide the {channels} channels and num_output {message.num_output}"
            yield spec.fault(problem, "convolution_param.group", code="shape-mismatch")
        at = window(spec)
        spatial = spec.bottoms[0][at.axis + 1 :]
        if min(at.output(spatial)) < 1:
            problem = f"the kernel is larger than the padded bottom {spec.bottoms[0]}"
            yield spec.error(problem, "convolution_param", at.kernel, code="shape-mismatch")

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        at = window(spec)
        return tuple(
            (*shape[: at.axis], spec.param.convolution_param.num_output, *at.output(shape[at.axis + 1 :]))
            for shape in spec.bottoms
        )

    def blobs(self, spec: LayerSpec) -> tuple[BlobDef, ...]:
        message, at = spec.param.convolution_param, window(spec)
        channels = spec.bottoms[0][at.axis] // message.group
        return self.weight_and_bias(spec, (message.num_output, channels, *at.kernel))

    def module(self, spec: LayerSpec) -> nn.Module:
        at = window(spec)
        beyond = any(at.overhang(spec.bottoms[0][at.axis + 1 :]))
        plain = len(spec.bottoms) == 1 and at.axis == 1 and not beyond
        make = constructor(spec, _CONVS if plain else _MANY)
        conv = make()
        if suits(conv):
            return FewOutputsConv2d(*make.args, **make.keywords)
        if needs_care(conv):
            return PointConv2d(*make.args, **make.keywords)
        if isinstance(conv, ManyConvolutions):
            conv.channel_axis, conv.window = at.axis, at if beyond else None
        return conv

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        return written(onnx, spec, "Conv", *onnx.blobs, group=spec.param.convolution_param.group)

    def function(self, spec: LayerSpec) -> Convolve | None:
        at, shape = window(spec), spec.bottoms[0]
        if len(spec.bottoms) > 1 or at.axis != 1 or len(shape) != 4 or any(at.overhang(shape[2:])):
            return None
        kernel, stride, pad, dilation = ((v[0], v[1]) for v in (at.kernel, at.stride, at.pad, at.dilation))
        return Convolve(Window(kernel, stride, pad, dilation), spec.param.convolution_param.group)

    def macs(self, spec: LayerSpec) -> int:
        return self._macs(spec, self.top_shapes(spec))

    def _macs(self, spec: LayerSpec, places: Sequence[Shape]) -> int:
        """Return the multiply-accumulates of weights that take part once at every place of some blobs."""
        weights, axis = count(self.blobs(spec)[0].shape), window(spec).axis
        return sum(weights * count(shape[:axis]) * count(shape[axis + 1 :]) for shape in places)

    def drawn_lines(self, param: pb.LayerParameter) -> list[str]:
        message = param.convolution_param
        kernel = [message.kernel_h, message.kernel_w] if message.HasField("kernel_h") else message.kernel_size
        stride = [message.stride_h, message.stride_w] if message.HasField("stride_h") else message.stride
        padded = message.HasField("pad_h") or message.HasField("pad_w")
        pad = [message.pad_h, message.pad_w] if padded else message.pad
        lines = [f"({param.type})", *drawn_window(kernel or [1], stride or [1], pad or [0])]
        if any(d != 1 for d in message.dilation):
            lines.append(f"dilation: {drawn_extent(message.dilation)}")
        return lines

    def drawn_output(self, param: pb.LayerParameter) -> str:
        return str(param.convolution_param.num_output)


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
            # Axis i of the map becomes (kernel position, output position); earlier axes are done and to its left.
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
