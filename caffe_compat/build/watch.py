"""Notice changes of a net that its programs do not know: of modules, hooks, attributes, weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from caffe_compat.kernels.fast.watch import (
    Hashes,
    Relied,
    Snapshot,
    address,
    guard,
    has_values,
    is_guarded,
    is_shared,
    offsets,
)
from caffe_compat.runtime.tensors import HOOKS, LEVEL, OBSERVERS, is_plain

Tensor = torch.Tensor

_OWN = frozenset(vars(nn.Module()))
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")  # the first two always run
_STATES = (*OBSERVERS, (torch.is_grad_enabled, (), False))


@dataclass(frozen=True)
class Form:
    """A module as its layer makes it: its class, the attributes that its class sets, the shapes of its tensors."""

    type: type[nn.Module]
    attributes: Mapping[str, Any]
    shapes: Mapping[str, torch.Size | None]

    @classmethod
    def of(cls, module: nn.Module) -> Form:
        """Return a module's form."""
        own = {name: value for name, value in vars(module).items() if name not in _OWN}
        shapes = {name: None if value is None else value.shape for name, value in _tensors(module)}
        return cls(type(module), own, shapes)

    def fits(self, module: nn.Module) -> bool:
        """Tell whether a module is in eval mode and computes its layer's function, with plain float32 weights."""
        if type(module) is not self.type or module.training or is_altered(module):
            return False
        if not all(_is_equal(vars(module).get(name, self), value) for name, value in self.attributes.items()):
            return False
        shapes = {name: None if value is None else value.shape for name, value in _tensors(module)}
        return shapes == self.shapes and all(value is None or is_plain(value) for _, value in _tensors(module))


def _is_equal(a: Any, b: Any) -> bool:
    try:
        return bool(np.all(a == b))  # an array's, too
    except (RuntimeError, ValueError):  # arrays of other shapes
        return False


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor | None]]:
    yield from module._parameters.items()
    yield from module._buffers.items()


def is_altered(module: nn.Module) -> bool:
    """Tell whether calling a module does more than its class's ``forward``, or something else."""
    own = vars(module)
    if any(own[name] for name in _HOOKS) or any(name not in _OWN and hasattr(type(module), name) for name in own):
        return True  # what hides a method is a method of its own
    return not (_is_genuine(type(module), "forward") and _calls_are_genuine(type(module)))


def calls_forward(module: nn.Module) -> bool:
    """Tell whether calling a module calls its class's ``forward`` and no hook."""
    own = vars(module)
    return "forward" not in own and not any(own[name] for name in _HOOKS) and _calls_are_genuine(nn.Module)


def _calls_are_genuine(class_: type[nn.Module]) -> bool:
    if class_.__call__ is not nn.Module._wrapped_call_impl:
        return False
    return _is_genuine(class_, "_wrapped_call_impl") and _is_genuine(class_, "_call_impl")


def _is_genuine(class_: type, name: str) -> bool:
    """Tell whether a class's method is the one written there, not one that was put in its place."""
    base = next(base for base in class_.__mro__ if name in vars(base))
    method = vars(base)[name]
    if not isinstance(method, FunctionType) or method.__module__ != base.__module__:
        return False
    return method.__code__.co_qualname == f"{base.__qualname__}.{name}"


class Watch:
    """The state of a net that its compiled passes rely on: the modules they replace and the weights they use.

    A pass takes `inputs` tensors. Programs have copies of the `copied` weights and read the `read` weights from the
    memory of the net. The watch `before` is the one that this one replaces.
    """

    def __init__(
        self,
        net: fx.GraphModule,
        inputs: int,
        modules: Sequence[nn.Module],
        copied: Iterable[Tensor],
        read: Iterable[Tensor],
        before: Watch | None,
    ) -> None:
        self._copied, self._read = ({id(x): x for x in tensors} for tensors in (copied, read))
        self._own = Counter(map(_storage, {id(x): x for x in (*net.parameters(), *net.buffers())}.values()))
        self._clones: dict[int, Tensor] = {}
        self._open: list[Tensor] = []  # those that are hashed,
        self._shared: list[Tensor] = []  # and those among them that something else refers to
        for key, x in self._copied.items():
            self._guard(x, None if before is None else before._clones.get(key))
        self._hashes = Hashes(self._open)
        self._addresses = {key: address(x) for key, x in self._read.items()}
        self._snapshot = Snapshot(_relied(net, inputs, modules))
        self._is_ready = self._snapshot.ready()

    def _guard(self, x: Tensor, before: Tensor | None) -> None:
        """Guard a tensor unless something can write to it unseen: it was guarded before, or nothing else has it."""
        clone = None
        if offsets() is not None:
            if (before is not None and is_guarded(x, before)) or not is_shared(x, self._own[_storage(x)]):
                clone = guard(x)
            else:
                self._shared.append(x)
        if clone is None:
            self._open.append(x)
        else:
            self._clones[id(x)] = clone

    def ready(self, inputs: tuple[Any, ...]) -> bool:
        """Tell whether nothing has changed, and these inputs can run compiled now."""
        return self._is_ready(inputs) and (not self._open or self._values_hold())

    def holds(self) -> bool:
        """Tell whether nothing has changed."""
        return self._snapshot.holds() and (not self._open or self._values_hold())

    def _values_hold(self) -> bool:
        if self._shared:
            self._shared.append(self._shared.pop(0))  # one each time
            if not is_shared(self._shared[0], self._own[_storage(self._shared[0])]):
                return False  # it can be guarded now
        return self._hashes.hold()

    def follows(self, before: Watch) -> bool:
        """Tell whether programs made under the watch `before` have the values that they would be made with now."""
        if before._addresses != self._addresses or before._copied.keys() != self._copied.keys():
            return False
        hashed = Hashes([self._copied[id(x)] for x in before._open])
        if (hashed.forms, hashed.first) != (before._hashes.forms, before._hashes.first):
            return False
        return all(has_values(self._copied[key], clone) for key, clone in before._clones.items())


def _relied(net: fx.GraphModule, inputs: int, modules: Sequence[nn.Module]) -> Relied:
    owners = [net, *modules]
    tables = [net._modules, *(vars(each)[name] for each in owners for name in (*_HOOKS[:2], "_parameters", "_buffers"))]
    classes = dict.fromkeys(map(type, owners))
    calls = [*((class_, "forward") for class_ in classes), (nn.Module, "__call__"), (nn.Module, "_call_impl"), LEVEL]
    weights = [x for each in modules for _, x in _tensors(each) if x is not None]
    return Relied(_STATES, inputs, owners, (*tables, *HOOKS), calls, weights)


def _storage(x: Tensor) -> int:
    return int(x.untyped_storage()._cdata)
