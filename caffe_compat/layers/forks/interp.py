"""Resizing maps: Interp of DeepLab and PSPNet (bilinear, the corners kept in place), Upsample of YOLOv3's ports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import Account, Layer, LayerSpec, Shape, register
from caffe_compat.layers.facts import Evidence, OnnxWriter, Operand


class InterpModule(nn.Module):
    """Crop, then resize so that the outermost samples stay where they are."""

    def __init__(
        self, size: tuple[int, int] | None, zoom: int | None, shrink: int | None, crop: tuple[int, int]
    ) -> None:
        super().__init__()
        self.size, self.zoom, self.shrink, self.crop = size, zoom, shrink, crop

    def output(self, high: int, wide: int) -> tuple[int, int]:
        """Return the size of the top for a bottom's size."""
        return self._resized(high, 0), self._resized(wide, 1)

    def _resized(self, length: int, axis: int) -> int:
        length -= sum(self.crop)
        if self.shrink is None and self.zoom is None:
            assert self.size is not None
            return self.size[axis]
        if self.shrink is not None:
            length = (length - 1) // self.shrink + 1
        return length + (length - 1) * ((self.zoom or 1) - 1)

    def output_onnx(self, onnx: OnnxWriter, size: str) -> Operand:
        """Write :meth:`output` for the size of the cropped bottom."""
        if self.shrink is None and self.zoom is None:
            assert self.size is not None
            return list(self.size)
        if self.shrink is not None:
            size = onnx.node("Add", onnx.node("Div", onnx.node("Sub", size, [1, 1]), [self.shrink] * 2), [1, 1])
        return onnx.node("Add", onnx.node("Mul", onnx.node("Sub", size, [1, 1]), [self.zoom or 1] * 2), [1, 1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Resize (N, C, H, W)."""
        size, (begin, end) = self.output(x.shape[2], x.shape[3]), self.crop
        x = x[:, :, begin : x.shape[2] - end, begin : x.shape[3] - end]
        return x if tuple(x.shape[2:]) == size else F.interpolate(x, size, mode="bilinear", align_corners=True)


@register
class Interp(Layer):
    """Bilinear resizing by a factor or to a size."""

    type = "Interp"
    forks = ("pspnet", "deeplab")
    summary = "bilinear resizing, corners aligned"
    origin = "src/caffe/layers/interp_layer.cpp"
    evidence = Evidence.RECORDED
    accounts = {"interp_param": Account(read=("height", "width", "zoom_factor", "shrink_factor", "pad_beg", "pad_end"))}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        message, field, shape = spec.message("interp_param"), "interp_param", spec.bottoms[0]
        factors = [f for f in ("zoom_factor", "shrink_factor") if message.HasField(f)]
        wrong = [f for f in factors if getattr(message, f) < 1]
        wrong += [f for f in ("pad_beg", "pad_end") if getattr(message, f) > 0]
        for name in wrong:
            problem = "must be positive" if name in factors else "only crops: 0 or below"
            yield spec.fault(problem, f"{field}.{name}")
        if not factors and not (message.height > 0 and message.width > 0):
            yield spec.error("needs height and width, zoom_factor or shrink_factor", field, code="field-missing")
        elif len(shape) != 4:
            yield spec.misfit("the bottom must have 4 axes", shape)
        elif not wrong and min(shape[2:]) + message.pad_beg + message.pad_end < 1:
            yield spec.fault(f"crops the whole bottom {shape}", f"{field}.pad_beg")

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        shape = spec.bottoms[0]
        return ((*shape[:2], *self._module(spec).output(*shape[2:])),)

    def module(self, spec: LayerSpec) -> nn.Module:
        return self._module(spec)

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        module = self._module(spec)
        begin, end = module.crop
        x = onnx.node("Slice", onnx.bottoms[0], [begin] * 2, [-end or 2**31] * 2, [2, 3])
        shape = onnx.node("Shape", x)
        size = module.output_onnx(onnx, onnx.node("Slice", shape, [2], [4]))
        shape = onnx.node("Concat", onnx.node("Slice", shape, [0], [2]), size, axis=0)
        modes = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
        return [onnx.node("Resize", x, "", "", shape, **modes)]

    def _module(self, spec: LayerSpec) -> InterpModule:
        message = spec.message("interp_param")
        zoom, shrink = (getattr(message, f) if message.HasField(f) else None for f in ("zoom_factor", "shrink_factor"))
        both = zoom is not None and shrink is not None
        sized = message.HasField("height") and message.HasField("width")
        if both and sized:  # a size wins over two factors, and loses to one
            zoom = shrink = None
        return InterpModule((message.height, message.width), zoom, shrink, (-message.pad_beg, -message.pad_end))


@register
class YOLOUpsample(Layer):
    """Every value as a square of itself."""

    type = "Upsample"
    forks = ("yolov3",)
    summary = "nearest neighbour, by a whole factor"
    origin = "src/caffe/layers/upsample_layer.cpp"
    evidence = Evidence.TRANSCRIPTION
    accounts = {"upsample_param": Account(read=("scale",))}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        yield from spec.at_least_one("upsample_param", "scale")
        yield from spec.ranks(4, 4)

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        scale, shape = spec.message("upsample_param").scale, spec.bottoms[0]
        return ((*shape[:2], *(size * scale for size in shape[2:])),)

    def module(self, spec: LayerSpec) -> nn.Module:
        return nn.Upsample(scale_factor=spec.message("upsample_param").scale, mode="nearest")

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        scale = float(spec.message("upsample_param").scale)
        scales = np.array([1, 1, scale, scale], np.float32)
        modes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return [onnx.node("Resize", onnx.bottoms[0], "", scales, **modes)]
