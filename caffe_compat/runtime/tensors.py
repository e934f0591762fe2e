"""State of torch, other than values, that compiled code would ignore: subclasses, modes, hooks and the like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import forward_ad
from torch.nn.modules import module as modules

_C = torch._C
_keys: Any = getattr(_C, "_dispatch_keys", None)

States = tuple[tuple[Callable[..., object], tuple[Any, ...], object], ...]
"""Functions, their arguments, and the object that each returns where nothing is in the way."""


def _plain_keys() -> tuple[int, ...]:
    """Return the dispatch keys of a float32 tensor on the CPU, outside of inference mode and within."""
    if _keys is None:
        return ()
    with torch.inference_mode():
        inferred = torch.empty(0, device="cpu")
    return tuple(_keys(x).raw_repr() for x in (torch.empty(0, device="cpu"), inferred))


PLAIN_KEYS = _plain_keys()

OBSERVERS: States = (
    (_C._functorch.maybe_current_level, (), None),
    (_C._len_torch_function_stack, (), 0),
    (_C._len_torch_dispatch_stack, (), 0),
    (_C._autograd._profiler_enabled, (), False),
    (_C._is_tracing, (), False),
    (torch.is_autocast_enabled, ("cpu",), False),
)
"""No vmap, grad or jvp around a pass, no mode of ``__torch_function__`` or ``__torch_dispatch__``, profiler, trace,
autocast."""

LEVEL = (forward_ad, "_current_level")
"""The level of forward gradients, -1 outside."""

HOOKS: tuple[dict[Any, Any], ...] = (
    modules._global_forward_pre_hooks,
    modules._global_forward_hooks,
    modules._global_backward_pre_hooks,
    modules._global_backward_hooks,
)
"""The hooks of all modules."""


def is_plain(x: object) -> bool:
    """Tell whether `x` is a plain tensor of float32 in the CPU's memory.

    Not so are tensors of subclasses and of transforms (vmap, grad), fakes, meta tensors, sparse, quantised and lazily
    negated ones.
    """
    if not isinstance(x, torch.Tensor) or type(x) not in (torch.Tensor, torch.nn.Parameter):
        return False
    if x.dtype != torch.float32 or x.device.type != "cpu":
        return False
    if _keys is None:  # a torch without that name
        return x.layout == torch.strided and not x.is_neg() and not is_transformed()
    return _keys(x).raw_repr() in PLAIN_KEYS


def is_transformed() -> bool:
    """Tell whether vmap, grad, jvp or forward gradients make something else of every operator."""
    return bool(_C._functorch.maybe_current_level() is not None or getattr(*LEVEL) >= 0)


def is_batched(x: torch.Tensor) -> bool:
    """Tell whether `x` represents many tensors, as gradients do with ``is_grads_batched``."""
    return bool(_C._functorch.is_batchedtensor(x) or _C._functorch.is_legacy_batchedtensor(x))


def is_observed() -> bool:
    """Tell whether a pass now must call every module and operator, because something follows or changes them."""
    if torch.compiler.is_compiling():  # first: the compiler can trace none of the others
        return True
    if any(HOOKS) or is_transformed():
        return True
    return not all(state(*args) is answer for state, args, answer in OBSERVERS)
