"""Turn gradients into updates: one class per Caffe solver type, plain tensors in and out.

Facts from BVLC Caffe 9b89154, solvers/*.cpp. One iteration is: clip by the norm of all gradients together; divide by
iter_size; add the decay; let the rule turn each gradient into the value that is subtracted from the parameter. Decay is
thus seen by the rule like any gradient, and the clip does not see the decay. The order of operations is Caffe's. delta
is added outside the root but in AdaDelta, where it is inside; Adam's correction multiplies the rate and leaves delta
alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch

from caffe_compat.errors import SolverError, did_you_mean
from caffe_compat.kernels import linear
from caffe_compat.schema.caffe_pb2 import SolverParameter

Tensors = list[torch.Tensor]


@dataclass(frozen=True)
class Group:
    """Parameters that share their multipliers, and the rule's state of each."""

    lr_mult: float
    decay_mult: float
    values: Tensors
    history: tuple[Tensors, ...] = field(default=())
    """For every history of the rule, one tensor per parameter."""


class Rule:
    """Caffe's SGD: momentum carries the rate, ``v = momentum v + rate g; w -= v``; the other rules derive from it."""

    type: ClassVar[str] = "SGD"
    """Caffe's name of the solver."""
    histories: ClassVar[int] = 1
    """Tensors in a parameter's history; a snapshot lists all firsts, then all seconds."""
    rate_in_history: ClassVar[bool] = True
    """A gradient enters the history multiplied by its rate, so that lr_mult 0 leaves it alone."""

    exact = False

    def __init__(self, param: SolverParameter) -> None:
        self.momentum = param.momentum
        self.delta = param.delta
        self.check(param)

    def check(self, param: SolverParameter) -> None:
        """Refuse values that Caffe's constructor refuses."""

    def updates(self, grads: Tensors, history: tuple[Tensors, ...], rate: float, iteration: int) -> Tensors:
        """Return the values to subtract; `grads` include decay and may be overwritten, `rate` includes lr_mult."""
        del iteration
        (momentum,) = history
        torch._foreach_mul_(momentum, self.momentum)
        add_scaled(momentum, grads, rate, exact=self.exact)
        return momentum


def make_rule(param: SolverParameter, *, exact: bool = False) -> Rule:
    """Return the rule of a solver; `param` is upgraded (``type``, not ``solver_type``).

    With `exact`, SGD and Nesterov round as Caffe does on every processor.
    """
    cls = RULES.get(param.type)
    if cls is None:
        hint: str | None = did_you_mean(param.type, RULES) or f"use one of {', '.join(RULES)}"
        raise SolverError("unknown solver type", code="name-unknown", field="type", value=param.type, hint=hint)
    if param.regularization_type not in {"L1", "L2"}:
        raise SolverError(
            "unknown regularization",
            code="name-unknown",
            field="regularization_type",
            value=param.regularization_type,
            hint="use L1 or L2",
        )
    if param.iter_size < 1:
        hint = None if param.iter_size else "with 0, Caffe's first update makes every weight NaN"
        raise SolverError(
            "must be at least 1", code="out-of-range", field="iter_size", value=param.iter_size, hint=hint
        )
    rule = cls(param)
    rule.exact = exact
    return rule


def clip_scale(grads: Sequence[torch.Tensor], limit: float) -> tuple[float, float] | None:
    """Return the L2 norm of all gradients and the factor that brings it to `limit`; None where it need not.

    A negative limit never clips.
    """
    if limit < 0 or not grads:
        return None
    squares = torch.stack(torch._foreach_norm(list(grads))).square_()
    norm = np.sqrt(np.float32(float(squares.sum())))
    if not norm > np.float32(limit):
        return None
    return float(norm), float(np.float32(limit) / norm)


def add_scaled(values: Tensors, others: Tensors, factor: float, *, exact: bool = False) -> None:
    """Add `factor` times `others` to `values`, in place.

    OpenBLAS rounds such a sum once, torch once or twice as the processor has it; with `exact` it is once on every one.
    """
    if exact and all(value.dtype == torch.float32 and value.device.type == "cpu" for value in values):
        for value, other in zip(values, others, strict=True):
            linear.add_scaled(value, other, factor)
    else:
        torch._foreach_add_(values, others, alpha=factor)


def regularize(grads: Tensors, values: Tensors, decay: float, kind: str, *, exact: bool = False) -> None:
    """Add decay times the parameters (L2) or their signs (L1) to the gradients, in place."""
    if decay:
        terms = values if kind == "L2" else [value.sign() for value in values]
        add_scaled(grads, terms, decay, exact=exact)


def product(first: float, second: float) -> float:
    """Multiply as floats of 32 bits."""
    return float(np.float32(first) * np.float32(second))


class Nesterov(Rule):
    """Nesterov's momentum: step back by the old history, then over by the new."""

    type = "Nesterov"

    def updates(self, grads: Tensors, history: tuple[Tensors, ...], rate: float, iteration: int) -> Tensors:
        """Return ``(1 + momentum) v_new - momentum v_old``."""
        del iteration
        (momentum,) = history
        back = list(torch._foreach_mul(momentum, -self.momentum))
        torch._foreach_mul_(momentum, self.momentum)
        add_scaled(momentum, grads, rate, exact=self.exact)
        add_scaled(back, momentum, float(np.float32(1) + np.float32(self.momentum)), exact=self.exact)
        return list(back)


class _WithoutMomentum(Rule):
    rate_in_history = False

    def check(self, param: SolverParameter) -> None:
        """Refuse momentum, as Caffe does."""
        if param.momentum != 0:
            problem = f"{self.type} takes no momentum"
            raise SolverError(problem, code="conflict", field="momentum", value=param.momentum, hint="remove it")

    def _divided(self, grads: Tensors, squares: Tensors, rate: float) -> Tensors:
        root = torch._foreach_sqrt(squares)
        torch._foreach_add_(root, self.delta)
        torch._foreach_div_(grads, root)
        torch._foreach_mul_(grads, rate)
        return grads


class AdaGrad(_WithoutMomentum):
    """Divides by the root of the sum of all squared gradients."""

    type = "AdaGrad"

    def updates(self, grads: Tensors, history: tuple[Tensors, ...], rate: float, iteration: int) -> Tensors:
        """Return ``rate g / (sqrt(h) + delta)``, h the sum of g²."""
        del iteration
        (squares,) = history
        torch._foreach_addcmul_(squares, grads, grads)
        return self._divided(grads, squares, rate)


class RMSProp(_WithoutMomentum):
    """Divides by the root of the running mean of squared gradients."""

    type = "RMSProp"

    def __init__(self, param: SolverParameter) -> None:
        self.rms_decay = param.rms_decay
        super().__init__(param)

    def check(self, param: SolverParameter) -> None:
        """Refuse momentum, and a decay outside [0, 1)."""
        super().check(param)
        if not 0 <= param.rms_decay < 1:
            raise SolverError("is out of range [0, 1)", code="out-of-range", field="rms_decay", value=param.rms_decay)

    def updates(self, grads: Tensors, history: tuple[Tensors, ...], rate: float, iteration: int) -> Tensors:
        """Return ``rate g / (sqrt(h) + delta)``, h the running mean of g²."""
        del iteration
        (squares,) = history
        _decay_and_add_squares(squares, grads, self.rms_decay)
        return self._divided(grads, squares, rate)


class AdaDelta(Rule):
    """Scales gradients by the ratio of the running roots of past updates and gradients."""

    type = "AdaDelta"
    histories = 2
    rate_in_history = False

    def updates(self, grads: Tensors, history: tuple[Tensors, ...], rate: float, iteration: int) -> Tensors:
        """Return ``rate u``, ``u = g sqrt((delta + hu) / (delta + hg))``; u without the rate enters hu."""
        del iteration
        squares, past = history
        _decay_and_add_squares(squares, grads, self.momentum)
        ratio = torch._foreach_add(past, self.delta)
        torch._foreach_div_(ratio, torch._foreach_add(squares, self.delta))
        torch._foreach_sqrt_(ratio)
        torch._foreach_mul_(grads, ratio)
        _decay_and_add_squares(past, grads, self.momentum)
        torch._foreach_mul_(grads, rate)
        return grads


class Adam(Rule):
    """Adam, with the bias correction in the rate."""

    type = "Adam"
    histories = 2
    rate_in_history = False

    def __init__(self, param: SolverParameter) -> None:
        self.momentum2 = param.momentum2
        super().__init__(param)

    def updates(self, grads: Tensors, history: tuple[Tensors, ...], rate: float, iteration: int) -> Tensors:
        """Return ``rate correction m / (sqrt(v) + delta)``."""
        first, second = history
        torch._foreach_mul_(first, self.momentum)
        torch._foreach_add_(first, grads, alpha=float(np.float32(1) - np.float32(self.momentum)))
        _decay_and_add_squares(second, grads, self.momentum2)
        root = torch._foreach_sqrt(second)
        torch._foreach_add_(root, self.delta)
        steps = torch._foreach_div(first, root)
        torch._foreach_mul_(steps, product(rate, self._correction(iteration + 1)))
        return list(steps)

    def _correction(self, steps: int) -> float:
        """Return sqrt(1 - beta2^t) / (1 - beta1^t); Caffe takes the powers in double."""
        second = 1.0 - float(np.float64(self.momentum2) ** steps)
        first = 1.0 - float(np.float64(self.momentum) ** steps)
        with np.errstate(all="ignore"):
            return float(np.float32(np.sqrt(second) / np.float64(first)))


def _decay_and_add_squares(history: Tensors, grads: Tensors, decay: float) -> None:
    torch._foreach_mul_(history, decay)
    torch._foreach_addcmul_(history, grads, grads, value=float(np.float32(1) - np.float32(decay)))


RULES: dict[str, type[Rule]] = {rule.type: rule for rule in (Rule, Nesterov, AdaGrad, RMSProp, AdaDelta, Adam)}
"""Caffe's solver type -> rule."""
