"""Layers that compute one value from one value: no parameters, the top as large as the bottom."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import ENGINE, Account, Layer, LayerSpec, register
from caffe_compat.layers.facts import Coordinates, Gradient, Memories, OnnxType, OnnxWriter, Reads
from caffe_compat.schema import caffe_pb2 as pb


def _memory(memory: Memories) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the values in the memory of bottom, top and the top's gradient."""
    top, where = memory.tops[0], memory.where
    return memory.bottoms[0].values(where), top.values(where), top.gradients(where)


class AbsModule(nn.Module):
    """|x|, with gradient 0 at 0."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return |x|."""
        return x.abs()


@register
class AbsVal(Layer):
    """The absolute value; its gradient is sign(x)."""

    type = "AbsVal"
    summary = "absolute value"
    reads = Reads.BOTTOM
    coordinates = Coordinates.SAME

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        yield from spec.only_apart()

    def module(self, spec: LayerSpec) -> nn.Module:
        return AbsModule()

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        return [onnx.node("Abs", onnx.bottoms[0])]


@register
class BNLL(Layer):
    """log(1 + exp(x)); above Caffe's threshold of 50 it is x."""

    type = "BNLL"
    summary = "log(1 + exp(x))"
    reads = Reads.BOTTOM
    rereads_in_place = True
    in_place_fault = "its backward pass reads the values it has overwritten"
    coordinates = Coordinates.SAME

    def module(self, spec: LayerSpec) -> nn.Module:
        return nn.Softplus(threshold=50)

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        return [onnx.node("Softplus", onnx.bottoms[0])]


class ClipModule(nn.Module):
    """max(low, min(x, high)); the gradient passes where x is within the bounds, both included."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return `x` within the bounds."""
        if self.low <= self.high:
            return x.clamp(self.low, self.high)
        return x.clamp(max=self.high).clamp(min=self.low)  # torch's clamp would prefer the upper bound


@register
class Clip(Layer):
    """Values limited to a range."""

    type = "Clip"
    summary = "limits values to min and max"
    reads = Reads.BOTTOM
    rereads_in_place = True
    in_place_fault = "its backward pass reads the values it has overwritten"
    accounts = {"clip_param": Account(read=("min", "max"))}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        for name in ("min", "max"):
            if not spec.param.clip_param.HasField(name):
                yield spec.error("must be given", f"clip_param.{name}", code="field-missing")

    def module(self, spec: LayerSpec) -> nn.Module:
        return ClipModule(spec.param.clip_param.min, spec.param.clip_param.max)

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        message = spec.param.clip_param
        return [onnx.node("Clip", onnx.bottoms[0], message.min, max(message.min, message.max))]  # the lower bound wins


@register
class ELU(Layer):
    """x above 0, alpha (exp(x) - 1) elsewhere."""

    type = "ELU"
    summary = "exponential linear with alpha"
    reads = Reads.BOTTOM | Reads.TOP
    keeps_sign = True
    coordinates = Coordinates.SAME
    accounts = {"elu_param": Account(read=("alpha",))}

    def module(self, spec: LayerSpec) -> nn.Module:
        return nn.ELU(spec.param.elu_param.alpha)

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        return [onnx.node("Elu", onnx.bottoms[0], alpha=spec.param.elu_param.alpha)]

    def caffe_gradients(self, spec: LayerSpec, memory: Memories) -> list[torch.Tensor] | None:
        if not memory.is_changed:
            return None
        x, y, grad = _memory(memory)
        return [grad * torch.where(x > 0, 1, spec.param.elu_param.alpha + y)]


def _log_base(spec: LayerSpec, base: float, name: str) -> float:
    """Return ln(base); -1 means e."""
    if base == -1:
        return 1.0
    if base <= 0 or not math.isfinite(base):
        raise spec.error("must be positive, or -1 for e", f"{name}.base", base, code="out-of-range")
    return math.log(base)


class ExpModule(nn.Module):
    """exp(inner x) outer."""

    def __init__(self, inner: float, outer: float) -> None:
        super().__init__()
        self.inner, self.outer = inner, outer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return exp(inner x) outer."""
        y = (x if self.inner == 1 else x * self.inner).exp()
        return y if self.outer == 1 else y * self.outer


@register
class Exp(Layer):
    """base^(shift + scale x)."""

    type = "Exp"
    summary = "base^(shift + scale x)"
    reads = Reads.TOP
    coordinates = Coordinates.SAME
    accounts = {"exp_param": Account(read=("base", "scale", "shift"))}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        _log_base(spec, spec.param.exp_param.base, "exp_param")
        return iter(())

    def module(self, spec: LayerSpec) -> nn.Module:
        message = spec.param.exp_param
        log = _log_base(spec, message.base, "exp_param")
        return ExpModule(log * message.scale, _exp(log * message.shift))

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        message = spec.param.exp_param
        log = _log_base(spec, message.base, "exp_param")
        power = onnx.node("Exp", onnx.node("Mul", onnx.bottoms[0], log * message.scale))
        return [onnx.node("Mul", power, _exp(log * message.shift))]

    def caffe_gradients(self, spec: LayerSpec, memory: Memories) -> list[torch.Tensor] | None:
        if not memory.is_changed:
            return None
        (_, y, grad), message = _memory(memory), spec.param.exp_param
        return [grad * y * (message.scale * (1 if message.base == -1 else math.log(message.base)))]


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


class LogModule(nn.Module):
    """ln(shift + scale x) factor."""

    def __init__(self, scale: float, shift: float, factor: float) -> None:
        super().__init__()
        self.scale, self.shift, self.factor = scale, shift, factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ln(shift + scale x) factor."""
        y = (x * self.scale + self.shift).log()
        return y if self.factor == 1 else y * self.factor


@register
class Log(Layer):
    """log_base(shift + scale x)."""

    type = "Log"
    summary = "log_base(shift + scale x)"
    reads = Reads.BOTTOM
    in_place_fault = "its backward pass overwrites the gradient from above before it has read it"
    coordinates = Coordinates.SAME
    accounts = {"log_param": Account(read=("base", "scale", "shift"))}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        if _log_base(spec, spec.param.log_param.base, "log_param") == 0:
            yield spec.error(
                "a logarithm to base 1 does not exist", "log_param.base", 1, "another base", code="out-of-range"
            )

    def module(self, spec: LayerSpec) -> nn.Module:
        message = spec.param.log_param
        return LogModule(message.scale, message.shift, 1 / _log_base(spec, message.base, "log_param"))

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        message = spec.param.log_param
        shifted = onnx.node("Add", onnx.node("Mul", onnx.bottoms[0], message.scale), message.shift)
        return [onnx.node("Mul", onnx.node("Log", shifted), 1 / _log_base(spec, message.base, "log_param"))]

    def caffe_gradients(self, spec: LayerSpec, memory: Memories) -> list[torch.Tensor] | None:
        """Return the square of the factor: in place it is made in the memory of the gradient it should multiply."""
        if not memory.in_place:
            return None
        message, x = spec.param.log_param, memory.bottoms[0].values(memory.where)
        base = 1 if message.base == -1 else math.log(message.base)
        factor = (message.scale / base) / (x * message.scale + message.shift)
        return [factor * factor]


class _PowerByDivision(torch.autograd.Function):
    """x^p with Caffe's gradient p y / x: not a number where x is 0, where the true one is 0 (p > 1) or infinite."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, power: float) -> torch.Tensor:
        y = x.pow(power)
        ctx.save_for_backward(x, y)
        ctx.power = power
        return y

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        x, y = ctx.saved_tensors
        return grad * (y / x * ctx.power), None


class PowerModule(nn.Module):
    """(shift + scale x)^power."""

    def __init__(self, power: float, scale: float, shift: float) -> None:
        super().__init__()
        self.power, self.scale, self.shift = power, scale, shift

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (shift + scale x)^power; where power or scale is 0, x is ignored (so are its NaNs)."""
        if self.power * self.scale == 0:
            value = torch.tensor(self.shift, dtype=torch.float64).pow(self.power)
            return torch.full_like(x, float(value))
        y = x if self.scale == 1 else x * self.scale
        y = y if self.shift == 0 else y + self.shift
        if self.power == 1:
            return y
        if self.power == 2:
            return y.square()
        return cast("torch.Tensor", _PowerByDivision.apply(y, self.power))  # type: ignore[no-untyped-call]


@register
class Power(Layer):
    """(shift + scale x)^power; the gradient at shift + scale x = 0 is Caffe's 0/0 unless the power is 1 or 2."""

    type = "Power"
    summary = "(shift + scale x)^power"
    reads = Reads.BOTTOM | Reads.TOP
    in_place_fault = "its backward pass overwrites the gradient from above before it has read it"
    coordinates = Coordinates.SAME
    accounts = {"power_param": Account(read=("power", "scale", "shift"))}

    def module(self, spec: LayerSpec) -> nn.Module:
        message = spec.param.power_param
        return PowerModule(message.power, message.scale, message.shift)

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        message = spec.param.power_param
        if message.power * message.scale == 0:
            value = torch.tensor(message.shift, dtype=torch.float64).pow(message.power)
            return [onnx.node("Expand", float(value), onnx.node("Shape", onnx.bottoms[0]))]
        y = onnx.bottoms[0]
        y = y if message.scale == 1 else onnx.node("Mul", y, message.scale)
        y = y if message.shift == 0 else onnx.node("Add", y, message.shift)
        return [y if message.power == 1 else onnx.node("Pow", y, message.power)]

    def backward_reads(self, param: pb.LayerParameter) -> Reads:
        power = param.power_param.power
        return Reads.NOTHING if power == 1 else Reads.BOTTOM if power == 2 else self.reads

    def caffe_gradients(self, spec: LayerSpec, memory: Memories) -> list[torch.Tensor] | None:
        """Return the gradient at the values in memory; in place the square of the factor, as Log's is."""
        if not memory.is_changed:
            return None
        x, y, grad = _memory(memory)
        factor = self._factor(spec, x, y)
        return [factor * factor if memory.in_place else grad * factor]

    def _factor(self, spec: LayerSpec, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        message = spec.param.power_param
        power, scale, shift = message.power, message.scale, message.shift
        if power * scale == 0 or power == 1:
            return torch.full_like(y, power * scale)
        if power == 2:
            return power * scale * (scale * x + shift)
        if shift == 0:
            return power * (y / x)
        return power * scale * (y / (scale * x + shift))


@register
class Sigmoid(Layer):
    """1 / (1 + exp(-x))."""

    type = "Sigmoid"
    summary = "logistic"
    reads = Reads.TOP
    coordinates = Coordinates.SAME
    accounts = {"sigmoid_param": Account(ignored=ENGINE)}

    def module(self, spec: LayerSpec) -> nn.Module:
        return nn.Sigmoid()

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        return [onnx.node("Sigmoid", onnx.bottoms[0])]


class SwishModule(nn.Module):
    """x sigmoid(beta x)."""

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x sigmoid(beta x)."""
        return x * (x * self.beta).sigmoid()


@register
class Swish(Layer):
    """x sigmoid(beta x)."""

    type = "Swish"
    summary = "x sigmoid(beta x)"
    reads = Reads.TOP
    accounts = {"swish_param": Account(read=("beta",))}

    def module(self, spec: LayerSpec) -> nn.Module:
        return SwishModule(spec.param.swish_param.beta)

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        (x,) = onnx.bottoms
        return [onnx.node("Mul", x, onnx.node("Sigmoid", onnx.node("Mul", x, spec.param.swish_param.beta)))]

    def caffe_gradients(self, spec: LayerSpec, memory: Memories) -> list[torch.Tensor] | None:
        if not memory.is_changed:
            return None
        (_, y, grad), beta = _memory(memory), spec.param.swish_param.beta
        return [grad * (beta * y + (beta * memory.inputs[0]).sigmoid() * (1 - beta * y))]


@register
class TanH(Layer):
    """Hyperbolic tangent."""

    type = "TanH"
    summary = "hyperbolic tangent"
    reads = Reads.TOP
    keeps_sign = True
    coordinates = Coordinates.SAME
    accounts = {"tanh_param": Account(ignored=ENGINE)}

    def module(self, spec: LayerSpec) -> nn.Module:
        return nn.Tanh()

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        return [onnx.node("Tanh", onnx.bottoms[0])]


class ThresholdModule(nn.Module):
    """1 where x > threshold, else 0."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ones and zeros."""
        return (x > self.threshold).to(x.dtype)


@register
class Threshold(Layer):
    """1 above the threshold, else 0; no gradient (Caffe aborts where one is needed)."""

    type = "Threshold"
    summary = "1 above a threshold, else 0"
    gradient = Gradient.REFUSED
    coordinates = Coordinates.SAME
    accounts = {"threshold_param": Account(read=("threshold",))}

    def module(self, spec: LayerSpec) -> nn.Module:
        return ThresholdModule(spec.param.threshold_param.threshold)

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        above = onnx.node("Greater", onnx.bottoms[0], spec.param.threshold_param.threshold)
        return [onnx.node("Cast", above, to=OnnxType.FLOAT32)]
