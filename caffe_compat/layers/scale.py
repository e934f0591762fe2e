"""Scale and Bias: a product and a sum along some axes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import Account, Arity, BlobDef, Layer, LayerSpec, Shape, constant, count, register
from caffe_compat.layers.facts import Coordinates, Memories, OnnxWriter, Operand, Reads
from caffe_compat.layers.functions import ScaleChannels
from caffe_compat.schema import caffe_pb2 as pb


class _AlongAxes(Layer):
    """Base of Scale and Bias: a blob, learned or the second bottom, along some axes of the first bottom."""

    is_affine = True
    coordinates = Coordinates.SAME
    bottoms = Arity(1, 2)

    def _axis(self, spec: LayerSpec) -> int:
        (name,) = self.accounts
        return 0 if spec.bottoms[1:] == ((),) else spec.axis(f"{name}.axis")

    def _shape(self, spec: LayerSpec) -> Shape:
        if len(spec.bottoms) == 2:
            return spec.bottoms[1]
        (name,) = self.accounts
        start, axes = self._axis(spec), spec.message(name).num_axes
        return spec.bottoms[0][start:] if axes == -1 else spec.bottoms[0][start : start + axes]


def _spread(onnx: OnnxWriter, rest: int) -> str:
    """Return the second bottom with `rest` axes of 1 behind its own."""
    given, rank = onnx.bottoms[1], len(onnx.bottom_shapes[1])
    return onnx.node("Unsqueeze", given, range(rank, rank + rest)) if rest else given


class ScaleModule(nn.Module):
    """x * weight + bias, both broadcast from `axis` on; the weight may come as a second bottom."""

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, shape: Shape, axis: int, rank: int, learned: bool, bias: bool) -> None:
        super().__init__()
        self.shape, self.axis, self.rank, self.learned = shape, axis, rank, learned
        self.view = (*shape, *[1] * (rank - axis - len(shape)))
        self.register_parameter("weight", nn.Parameter(torch.empty(shape)) if learned else None)
        self.register_parameter("bias", nn.Parameter(torch.empty(shape)) if bias else None)

    def per_channel(self) -> bool:
        """Tell whether it scales axis 1 alone, as a batch norm's weight does."""
        return self.axis == 1 and self.weight is not None and self.weight.dim() == 1

    def forward(self, x: torch.Tensor, scale: torch.Tensor | None = None) -> torch.Tensor:
        """Scale `x` by the learned weight, or by `scale`."""
        scale = self.weight if scale is None else scale
        assert scale is not None, "a Scale layer has a weight or a second bottom"
        scale = scale.reshape(self.view if self.weight is not None else (*scale.shape, *self.view[scale.dim() :]))
        if self.bias is None:
            return x * scale
        return torch.addcmul(self.bias.view(self.view), x, scale)


def _scale_and_shift(module: nn.Module) -> tuple[torch.Tensor, torch.Tensor | None]:
    assert isinstance(module, ScaleModule)
    assert module.weight is not None
    return module.weight.double(), None if module.bias is None else module.bias.double()


@register
class Scale(_AlongAxes):
    """Multiply by a learned or given blob, add a learned bias."""

    type = "Scale"
    summary = "multiplies along axes, learned or by a second bottom; bias_term"
    reads = Reads.BOTTOM
    free_outputs = (ScaleModule,)
    accounts = {"scale_param": Account(read=("axis", "num_axes", "filler", "bias_term", "bias_filler"))}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        message, shape = spec.param.scale_param, self._shape(spec)
        axis = self._axis(spec)
        if len(spec.bottoms) == 1 and message.num_axes < -1:
            yield spec.fault("must be at least -1", "scale_param.num_axes")
        if axis + max(message.num_axes, len(shape)) > len(spec.bottoms[0]) and len(spec.bottoms) == 1:
            yield spec.fault(f"extends past the bottom {spec.bottoms[0]}", "scale_param.num_axes")
        elif spec.bottoms[0][axis : axis + len(shape)] != shape:
            problem = f"does not match the bottom {spec.bottoms[0]} from axis {axis} on"
            yield spec.misfit(problem, shape, "equal dimensions")

    def blobs(self, spec: LayerSpec) -> tuple[BlobDef, ...]:
        message, shape = spec.param.scale_param, self._shape(spec)
        filler = message.filler if message.HasField("filler") else constant(1)
        weight = [BlobDef("weight", shape, filler)] if len(spec.bottoms) == 1 else []
        bias = [BlobDef("bias", shape, message.bias_filler)] if message.bias_term else []
        return (*weight, *bias)

    def function(self, spec: LayerSpec) -> ScaleChannels | None:
        by_channel = len(spec.bottoms) == 1 and self._axis(spec) == 1 and len(self._shape(spec)) == 1
        return ScaleChannels(_scale_and_shift) if by_channel and len(spec.bottoms[0]) in {2, 4} else None

    def module(self, spec: LayerSpec) -> nn.Module:
        learned = len(spec.bottoms) == 1
        return ScaleModule(
            self._shape(spec), self._axis(spec), len(spec.bottoms[0]), learned, spec.param.scale_param.bias_term
        )

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        rest = len(spec.bottoms[0]) - self._axis(spec) - len(self._shape(spec))
        blobs = [blob.reshape(*blob.shape, *[1] * rest) for blob in onnx.blobs]
        scale = blobs.pop(0) if len(spec.bottoms) == 1 else _spread(onnx, rest)
        top = onnx.node("Mul", onnx.bottoms[0], scale)
        return [onnx.node("Add", top, *blobs) if blobs else top]

    def has_inner_layer(self, param: pb.LayerParameter) -> bool:
        return param.scale_param.bias_term

    def scratch_gradient(self, spec: LayerSpec, memory: Memories) -> None:
        """Leave the product of bottom and gradient, whose sums are the factors' gradients."""
        outer, _, inner = self._parts(spec)
        if outer * inner != 1:
            bottom, where = memory.bottoms[0], memory.where
            bottom.gradients(where).copy_(memory.tops[0].gradients(where) * bottom.values(where))

    def overwrites_gradient(self, spec: LayerSpec, index: int) -> bool:
        """Tell whether the sums go straight into the factors' gradient, for which there must be one sum for each.

        That is so where the factors are as many as the bottom's values, or where nothing is before their axes and
        something after them (a batch of one).
        """
        if len(spec.bottoms) != 1 or index != 0:
            return False
        outer, scale, inner = self._parts(spec)
        return outer == inner == 1 or (outer == 1 and scale > 1 and inner > 1)

    def _parts(self, spec: LayerSpec) -> tuple[int, int, int]:
        """Return the number of values before, on and after the scaled axes."""
        shape, message = spec.bottoms[0], spec.param.scale_param
        axes = message.num_axes if len(spec.bottoms) == 1 else len(spec.bottoms[1])
        axis = spec.axis("scale_param.axis") if shape else 0
        end = len(shape) if axes == -1 else axis + axes
        return count(shape[:axis]), count(shape[axis:end]), count(shape[end:])


class BiasModule(nn.Module):
    """x + bias, broadcast from `axis` on; the bias may come as a second bottom."""

    bias: nn.Parameter | None

    def __init__(self, shape: Shape, axis: int, learned: bool) -> None:
        super().__init__()
        self.shape, self.axis, self.learned = shape, axis, learned
        self.register_parameter("bias", nn.Parameter(torch.empty(shape)) if learned else None)

    def forward(self, x: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        """Add the learned bias, or `bias`."""
        bias = self.bias if bias is None else bias
        assert bias is not None, "a Bias layer has a blob or a second bottom"
        return x + bias.reshape(*bias.shape, *[1] * (x.dim() - self.axis - bias.dim()))


@register
class Bias(_AlongAxes):
    """Add a learned or given blob along some axes."""

    type = "Bias"
    summary = "adds a bias along axes, learned or from a second bottom"
    accounts = {"bias_param": Account(read=("axis", "num_axes", "filler"))}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        axes, shape, axis = spec.param.bias_param.num_axes, self._shape(spec), self._axis(spec)
        if len(spec.bottoms) == 1 and (axes < -1 or axis + axes > len(spec.bottoms[0])):
            yield spec.fault(f"extends past the bottom {spec.bottoms[0]}", "bias_param.num_axes", "-1 for all")
        elif spec.bottoms[0][axis : axis + len(shape)] != shape:
            yield spec.misfit(f"does not match the bottom {spec.bottoms[0]} from axis {axis} on", shape)

    def blobs(self, spec: LayerSpec) -> tuple[BlobDef, ...]:
        if len(spec.bottoms) == 2:
            return ()
        return (BlobDef("bias", self._shape(spec), spec.param.bias_param.filler),)

    def module(self, spec: LayerSpec) -> nn.Module:
        return BiasModule(self._shape(spec), self._axis(spec), len(spec.bottoms) == 1)

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        rest = len(spec.bottoms[0]) - self._axis(spec) - len(self._shape(spec))
        bias: list[Operand] = [blob.reshape(*blob.shape, *[1] * rest) for blob in onnx.blobs]
        return [onnx.node("Add", onnx.bottoms[0], *(bias or [_spread(onnx, rest)]))]
