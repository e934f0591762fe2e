"""Turn gradients into updates: one class per Caffe solver type, plain tensors in and out.

Facts from BVLC Caffe 9b89154, solvers/*.cpp. One iteration is: clip by the norm of all gradients together; divide by
iter_size; add the decay; let the rule turn each gradient into the value that is subtracted from the parameter. Decay is
thus seen by the rule like any gradient, and the clip does not see the decay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, TypeVar

import numpy as np
import torch

from caffe_compat.errors import SolverError, did_you_mean
from caffe_compat.kernels import linear

if TYPE_CHECKING:
    from caffe_compat.schema.caffe_pb2 import SolverParameter

Tensors = list[torch.Tensor]


@dataclass(frozen=True)
class Group:
    """Parameters that share their multipliers, and what the rule remembers about each.

    Attributes
    ----------
    lr_mult, decay_mult : as in the definition.
    values : the parameters.
    history : for every history of the rule, one tensor per parameter.
    """

    lr_mult: float
    decay_mult: float
    values: Tensors
    history: tuple[Tensors, ...] = field(default=())


class Rule:
    """Caffe's SGD: momentum carries the rate, ``v = momentum v + rate g; w -= v``; the other rules derive from it.

    Attributes
    ----------
    type : Caffe's name of the solver.
    histories : how many tensors a parameter's history takes; a snapshot lists all firsts, then all seconds.
    rate_in_history : whether a gradient enters the history multiplied by its rate, so that lr_mult 0 leaves it alone.
    exact : whether sums with a factor are rounded as Caffe's, on every processor.
    """

    type: ClassVar[str] = "SGD"
    histories: ClassVar[int] = 1
    rate_in_history: ClassVar[bool] = True

    exact = False

    def __init__(self, param: SolverParameter) -> None:
        self.momentum = param.momentum
        self.delta = param.delta
        self.check(param)

    def check(self, param: SolverParameter) -> None:
        """Refuse values that Caffe's constructor refuses."""

    def updates(self, grads: Tensors, history: tuple[Tensors, ...], rate: float, iteration: int) -> Tensors:
        """Return what is to be subtracted; `grads` include decay and may be overwritten, `rate` includes lr_mult."""
        del iteration
        (momentum,) = history
        torch._foreach_mul_(momentum, self.momentum)
        add_scaled(momentum, grads, rate, exact=self.exact)
        return momentum


_Rule = TypeVar("_Rule", bound=type[Rule])
_registry: dict[str, type[Rule]] = {"SGD": Rule}


def register(cls: _Rule) -> _Rule:
    """Register a rule under Caffe's name of its solver type."""
    assert cls.type not in _registry, cls.type
    _registry[cls.type] = cls
    return cls


def rules() -> Mapping[str, type[Rule]]:
    """Return the rules by Caffe's solver type."""
    return MappingProxyType(_registry)


def make_rule(param: SolverParameter, *, exact: bool = False) -> Rule:
    """Return the rule a solver asks for; `param` is upgraded (``type``, not ``solver_type``).

    With `exact`, SGD and Nesterov round as Caffe does on every processor.
    """
    cls = _registry.get(param.type)
    if cls is None:
        hint: str | None = did_you_mean(param.type, _registry) or f"use one of {', '.join(_registry)}"
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
