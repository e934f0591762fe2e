"""RNN, LSTM and LSTMUnit, unrolled over time as Caffe's nets of layers are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import Account, Arity, BlobDef, Layer, LayerSpec, Shape, count, exactly, register
from caffe_compat.layers.facts import OnnxWriter, Reads


class _ForgetGate(torch.autograd.Function):
    """cont * sigmoid(x), with Caffe's gradient f (1 - f) of the product f: the true one where cont is 0 or 1."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: torch.Tensor, cont: torch.Tensor) -> torch.Tensor:
        gate = torch.where(cont == 0, 0, cont * x.sigmoid())
        ctx.save_for_backward(gate)
        return gate

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        (gate,) = ctx.saved_tensors  # type: ignore[attr-defined]  # torch's stub leaves it out
        return grads[0] * gate * (1 - gate), None


def lstm_step(c: torch.Tensor, gates: torch.Tensor, cont: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return cell and hidden state from the last cell (..., D), the gates (..., 4 D: i, f, o, g) and cont (...)."""
    i, f, o, g = gates.chunk(4, -1)
    forget: torch.Tensor = _ForgetGate.apply(f, cont.detach().unsqueeze(-1))  # type: ignore[no-untyped-call]
    cell = forget * c + i.sigmoid() * g.tanh()
    return cell, o.sigmoid() * cell.tanh()


def lstm_onnx(onnx: OnnxWriter, c: str, gates: str, cont: str) -> list[str]:
    """Write :func:`lstm_step` for `cont` of (..., 1); return cell and hidden state."""
    i, f, o, g = onnx.nodes("Split", gates, outputs=4, axis=2)
    forget = onnx.node("Mul", onnx.node("Sigmoid", f), cont)
    learn = onnx.node("Mul", onnx.node("Sigmoid", i), onnx.node("Tanh", g))
    cell = onnx.node("Add", onnx.node("Mul", forget, c), learn)
    return [cell, onnx.node("Mul", onnx.node("Sigmoid", o), onnx.node("Tanh", cell))]


class LSTMUnitModule(nn.Module):
    """One time step."""

    def forward(self, c: torch.Tensor, gates: torch.Tensor, cont: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return cell and hidden state (1, N, D) from (1, N, D), (1, N, 4 D) and (1, N)."""
        return lstm_step(c, gates, cont)


@register
class LSTMUnit(Layer):
    """One step of an LSTM: cell and hidden state from the last cell, the gates' inputs and the indicator."""

    type = "LSTMUnit"
    summary = "one step of an LSTM"
    reads = Reads.BOTTOM | Reads.TOP
    no_gradient = (2,)
    unforced = 2
    ignores_propagate_down = True
    bottoms = exactly(3)
    tops = exactly(2)

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        c, gates, cont = spec.bottoms
        if len(c) != 3 or c[0] != 1 or gates != (1, c[1], 4 * c[2]) or cont != (1, c[1]):
            yield spec.misfit("the bottoms must have shapes (1, N, D), (1, N, 4 D) and (1, N)", spec.bottoms)

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        return (spec.bottoms[0],) * 2

    def module(self, spec: LayerSpec) -> nn.Module:
        return LSTMUnitModule()

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        c, gates, cont = onnx.bottoms
        return lstm_onnx(onnx, c, gates, onnx.node("Unsqueeze", cont, [2]))


class RecurrentModule(nn.Module):
    """Time steps in order; the indicator multiplies the incoming state.

    Without exposed states a pass starts from the final state of the last pass, as in Caffe (zeros at first). No
    gradient leaves the pass: exposed states neither receive nor pass gradients.
    """

    states: ClassVar[int]

    def __init__(self, blobs: tuple[BlobDef, ...], outputs: int, static: bool, exposed: bool) -> None:
        super().__init__()
        self.outputs, self.static, self.exposed = outputs, static, exposed
        for blob in blobs:
            self.register_parameter(blob.name, nn.Parameter(torch.empty(blob.shape)))
        self.last: tuple[torch.Tensor, ...] = ()

    def forward(
        self, x: torch.Tensor, cont: torch.Tensor, *more: torch.Tensor
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Return (T, N, D) of (T, N, ...) and (T, N); exposed states are (1, N, D)."""
        steps = F.linear(x.flatten(2), self.get_parameter("w_x"), self.get_parameter("b_x"))
        fixed = None
        if self.static:
            fixed = F.linear(more[0].flatten(1), self.get_parameter("w_static"))
        states = self._first(x, more[1:] if self.static else more)
        tops = []
        for t in range(x.shape[0]):
            h = states[0] * cont[t].detach().unsqueeze(-1)
            inner = F.linear(h, self.get_parameter("w_h")) + steps[t]
            states, top = self.step(states, inner if fixed is None else inner + fixed, cont[t])
            tops.append(top)
        if not self.exposed:
            self.last = tuple(state.detach() for state in states)
            return torch.stack(tops)
        return (torch.stack(tops), *(state.detach().unsqueeze(0) for state in states))

    def reset(self) -> None:
        """Let the next pass start from zeros."""
        self.last = ()

    def go_on_from(self, other: RecurrentModule) -> None:
        """Go on from the final state of another module of the layer."""
        self.last = other.last

    def _first(self, x: torch.Tensor, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        if self.exposed:
            return tuple(state[0].detach() for state in given)
        zero = x.new_zeros(x.shape[1], self.outputs)
        fits = self.last and self.last[0].shape == zero.shape
        return tuple(s.to(zero) for s in self.last) if fits else (zero,) * self.states

    def step(
        self, states: tuple[torch.Tensor, ...], inner: torch.Tensor, cont: torch.Tensor
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """Return the next states (hidden first) and the output."""
        raise NotImplementedError


class LSTMModule(RecurrentModule):
    """States: hidden and cell."""

    states = 2

    def step(
        self, states: tuple[torch.Tensor, ...], inner: torch.Tensor, cont: torch.Tensor
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        c, h = lstm_step(states[1], inner, cont)
        return (h, c), h


class RNNModule(RecurrentModule):
    """State: hidden; the output is a second tanh layer on it."""

    states = 1

    def step(
        self, states: tuple[torch.Tensor, ...], inner: torch.Tensor, cont: torch.Tensor
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        h = inner.tanh()
        return (h,), F.linear(h, self.get_parameter("w_o"), self.get_parameter("b_o")).tanh()


class _Recurrent(Layer):
    """The base of RNN and LSTM: bottoms x, cont, and if given a static input and (expose_hidden) the first states."""

    bottoms = Arity(2, 5)
    tops = Arity(1, 3)
    kind: ClassVar[type[RecurrentModule]]
    gates: ClassVar[int]
    no_gradient = (1,)
    unforced = 1
    ignores_propagate_down = True
    always_learns = True
    weight_message = "recurrent_param"
    accounts = {
        "recurrent_param": Account(
            read=("num_output", "weight_filler", "bias_filler", "expose_hidden"), ignored={"debug_info": "prints only"}
        )
    }

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        message, shapes = spec.param.recurrent_param, spec.bottoms
        states = self.kind.states * message.expose_hidden
        yield from spec.at_least_one("recurrent_param", "num_output")
        if len(shapes) not in (2 + states, 3 + states) or len(spec.param.top) != 1 + states:
            problem = f"needs {2 + states} or {3 + states} bottoms and {1 + states} tops"
            yield spec.error(problem, "bottom", len(shapes), code="wrong-count")
            return
        x, cont = shapes[:2]
        if len(x) < 3 or cont != x[:2]:  # Caffe's inner product over the features needs an axis of them
            yield spec.misfit("the first two bottoms must have shapes (T, N, ...) and (T, N)", f"{x} and {cont}")
            return
        if self._static(spec) and shapes[2][:1] != x[1:2]:
            yield spec.misfit("the static input must have one row per stream", shapes[2], f"({x[1]}, ...)")
        for shape in shapes[len(shapes) - states :]:
            if shape != (1, x[1], message.num_output):
                yield spec.misfit(f"a state must have shape (1, {x[1]}, {message.num_output})", shape)

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        (t, n), outputs = spec.bottoms[0][:2], spec.param.recurrent_param.num_output
        return ((t, n, outputs), *[(1, n, outputs)] * (len(spec.param.top) - 1))

    def blobs(self, spec: LayerSpec) -> tuple[BlobDef, ...]:
        message = spec.param.recurrent_param
        rows, weight, bias = self.gates * message.num_output, message.weight_filler, message.bias_filler
        blobs = [BlobDef("w_x", (rows, count(spec.bottoms[0][2:])), weight), BlobDef("b_x", (rows,), bias)]
        if self._static(spec):
            blobs.append(BlobDef("w_static", (rows, count(spec.bottoms[2][1:])), weight))
        return (*blobs, BlobDef("w_h", (rows, message.num_output), weight))

    def module(self, spec: LayerSpec) -> nn.Module:
        message = spec.param.recurrent_param
        return self.kind(self.blobs(spec), message.num_output, self._static(spec), message.expose_hidden)

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        (x, cont, *more), blobs = onnx.bottoms, dict(zip((b.name for b in self.blobs(spec)), onnx.blobs, strict=True))
        (times,), outputs = onnx.fixed(onnx.bottom_shapes[0][:1]), spec.param.recurrent_param.num_output
        rows = onnx.node("MatMul", onnx.node("Reshape", x, [0, 0, -1]), blobs["w_x"].T)
        steps = onnx.nodes("Split", onnx.node("Add", rows, blobs["b_x"]), outputs=times, axis=0)
        conts = onnx.nodes("Split", onnx.node("Unsqueeze", cont, [2]), outputs=times, axis=0)
        fixed: list[str] = []
        if self._static(spec):
            fixed = [onnx.node("MatMul", onnx.node("Flatten", more.pop(0)), blobs["w_static"].T)]
        streams = onnx.node("Slice", onnx.node("Shape", x), [1], [2])
        zeros = onnx.node("Expand", 0.0, onnx.node("Concat", [1], streams, [outputs], axis=0))
        states, tops = more or [zeros] * self.kind.states, list[str]()
        for inner, indicator in zip(steps, conts, strict=True):
            before = onnx.node("MatMul", onnx.node("Mul", states[0], indicator), blobs["w_h"].T)
            for term in (inner, *fixed):
                before = onnx.node("Add", before, term)
            states, top = self._step_onnx(onnx, states, before, indicator, blobs)
            tops.append(top)
        return [onnx.node("Concat", *tops, axis=0), *(states if len(spec.param.top) > 1 else ())]

    def _step_onnx(
        self, onnx: OnnxWriter, states: Sequence[str], inner: str, cont: str, blobs: Mapping[str, npt.NDArray[Any]]
    ) -> tuple[list[str], str]:
        """Write a time step; return the next states (hidden first) and the output."""
        raise NotImplementedError

    def _static(self, spec: LayerSpec) -> bool:
        states = self.kind.states * spec.param.recurrent_param.expose_hidden
        return len(spec.bottoms) > 2 + states

    def macs(self, spec: LayerSpec) -> int:
        weights = sum(count(blob.shape) for blob in self.blobs(spec) if len(blob.shape) > 1)
        return weights * count(spec.bottoms[0][:2])


@register
class LSTM(_Recurrent):
    """Long short-term memory over (T, N, ...)."""

    type = "LSTM"
    summary = "unrolled over time: continuation indicators, static input, expose_hidden"
    kind = LSTMModule
    gates = 4

    def _step_onnx(
        self, onnx: OnnxWriter, states: Sequence[str], inner: str, cont: str, blobs: Mapping[str, npt.NDArray[Any]]
    ) -> tuple[list[str], str]:
        c, h = lstm_onnx(onnx, states[1], inner, cont)
        return [h, c], h


@register
class RNN(_Recurrent):
    """tanh(W_ho tanh(W_hh h + W_xh x + b_h) + b_o) over (T, N, ...)."""

    type = "RNN"
    summary = "unrolled over time: continuation indicators, static input, expose_hidden"
    kind = RNNModule
    gates = 1

    def blobs(self, spec: LayerSpec) -> tuple[BlobDef, ...]:
        message = spec.param.recurrent_param
        outputs = message.num_output
        return (
            *super().blobs(spec),
            BlobDef("w_o", (outputs, outputs), message.weight_filler),
            BlobDef("b_o", (outputs,), message.bias_filler),
        )

    def _step_onnx(
        self, onnx: OnnxWriter, states: Sequence[str], inner: str, cont: str, blobs: Mapping[str, npt.NDArray[Any]]
    ) -> tuple[list[str], str]:
        h = onnx.node("Tanh", inner)
        return [h], onnx.node("Tanh", onnx.node("Add", onnx.node("MatMul", h, blobs["w_o"].T), blobs["b_o"]))
