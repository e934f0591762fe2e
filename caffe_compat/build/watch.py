"""Notice when modules, their weights or their hooks change."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from operator import attrgetter
from typing import Any

import torch
from torch import nn

Tensor = torch.Tensor
_version = attrgetter("_version")


class Watch:
    """What modules and those below them hold. Every pass asks for changes, so loops over tensors are left to C.

    Attributes
    ----------
    is_plain : all weights are float32 on the CPU, and no forward pass is hooked.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        every = [each for module in modules for each in module.modules()]
        hooks = [table for each in every for table in (each._forward_hooks, each._forward_pre_hooks)]
        tables: list[dict[Any, Any]] = [
            table for each in every for table in (each._parameters, each._buffers, each._modules)
        ]
        self._empty = [table for table in (*tables, *hooks) if not table]
        self._full = [table for table in (*tables, *hooks) if table]
        self._held = self._values()  # so that nothing else gets their ids
        self._ids = [*map(id, self._held)]
        self._weights = [value for value in self._held if isinstance(value, Tensor)]
        self._versioned = [weight for weight in self._weights if not weight.is_inference()]
        self._state = self._states()
        plain = all(weight.dtype == torch.float32 and weight.device.type == "cpu" for weight in self._weights)
        self.is_plain = plain and not any(hooks)

    def has_changed(self) -> bool:
        """Tell whether any of it was replaced, or a weight was written."""
        return any(self._empty) or [*map(id, self._values())] != self._ids or self._states() != self._state

    def _values(self) -> list[Any]:
        return [*chain.from_iterable(map(dict.values, self._full))]

    def _states(self) -> tuple[list[int], list[int]]:
        return [*map(Tensor.data_ptr, self._weights)], [*map(_version, self._versioned)]
