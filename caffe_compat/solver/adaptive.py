"""The other rules of Caffe 1.0: Nesterov, AdaGrad, RMSProp, AdaDelta, Adam.

Facts from BVLC Caffe 9b89154, solvers/*_solver.cpp; the order of operations is Caffe's. delta is added outside the root
but in AdaDelta, where it is inside; Adam's correction multiplies the rate and leaves delta alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from caffe_compat.errors import SolverError
from caffe_compat.solver.rules import Rule, Tensors, add_scaled, product, register

if TYPE_CHECKING:
    from caffe_compat.schema.caffe_pb2 import SolverParameter


@register
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


@register
class AdaGrad(_WithoutMomentum):
    """Divides by the root of the sum of all squared gradients."""

    type = "AdaGrad"

    def updates(self, grads: Tensors, history: tuple[Tensors, ...], rate: float, iteration: int) -> Tensors:
        """Return ``rate g / (sqrt(h) + delta)``, h the sum of g²."""
        del iteration
        (squares,) = history
        torch._foreach_addcmul_(squares, grads, grads)
        return self._divided(grads, squares, rate)


@register
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


@register
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


@register
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
