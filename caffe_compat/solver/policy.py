"""Learning rate policies, to Caffe's rounding.

Facts from BVLC Caffe 9b89154, sgd_solver.cpp: fixed, step, exp, inv, multistep, poly, sigmoid. With a float solver
Caffe raises to an integer power in double and rounds the product once; powers and exponentials of floats stay in
float. multistep moves by at most one step value an iteration, from the step that a snapshot carries.
"""

from __future__ import annotations

import numpy as np

from caffe_compat.errors import CaffeCompatError, SolverError, did_you_mean, raise_together
from caffe_compat.schema.caffe_pb2 import SolverParameter

_F = np.float32

# The fields each policy reads besides base_lr.
POLICIES = {
    "fixed": (),
    "step": ("gamma", "stepsize"),
    "exp": ("gamma",),
    "inv": ("gamma", "power"),
    "multistep": ("gamma", "stepvalue"),
    "poly": ("power", "max_iter"),
    "sigmoid": ("gamma", "stepsize"),
}


def check_policy(param: SolverParameter) -> None:
    """Refuse a policy Caffe does not know, or one whose fields it cannot use, before the first iteration."""
    name = param.lr_policy
    if name not in POLICIES:
        hint = did_you_mean(name, POLICIES) if name else None
        raise SolverError(
            "unknown learning rate policy" if name else "is required",
            code="name-unknown" if name else "field-missing",
            field="lr_policy",
            value=name or None,
            hint=hint or f"use one of {', '.join(POLICIES)}",
        )
    problems: list[CaffeCompatError] = []
    reads = POLICIES[name]
    if "gamma" in reads and not param.gamma >= 0:
        problems.append(SolverError("must not be negative", code="out-of-range", field="gamma", value=param.gamma))
    if "stepsize" in reads and param.stepsize <= 0:
        problems.append(
            SolverError(
                f"must be positive for policy {name!r}", code="out-of-range", field="stepsize", value=param.stepsize
            )
        )
    if "max_iter" in reads and param.max_iter <= 0:
        problem = f"must be positive for policy {name!r}"
        problems.append(SolverError(problem, code="out-of-range", field="max_iter", value=0))
    raise_together(problems)


def rate(param: SolverParameter, iteration: int, current_step: int) -> tuple[float, int]:
    """Return the rate (a float32 value) after `iteration` updates, and the step to pass next time, 0 at first."""
    name = param.lr_policy
    base, gamma, power, iterations = _F(param.base_lr), _F(param.gamma), _F(param.power), _F(iteration)
    one = _F(1)
    with np.errstate(all="ignore"):  # infinite and NaN rates are what Caffe uses as well
        if name == "step":
            current_step = iteration // param.stepsize
        elif name == "multistep" and current_step < len(param.stepvalue):
            current_step += iteration >= param.stepvalue[current_step]
        if name in {"step", "multistep"}:
            return _scaled(param.base_lr, param.gamma, current_step), current_step
        if name == "exp":
            return _scaled(param.base_lr, param.gamma, iteration), current_step
        if name == "inv":
            base = base * np.power(one + gamma * iterations, -power)
        elif name == "poly":
            base = base * np.power(one - iterations / _F(param.max_iter), power)
        elif name == "sigmoid":
            base = base * (one / (one + np.exp(-gamma * (iterations - _F(param.stepsize)))))
    return float(base), current_step


def _scaled(base: float, gamma: float, exponent: int) -> float:
    return float(_F(np.float64(base) * np.power(np.float64(gamma), exponent)))
