"""One update of a net's learnable parameters, in Caffe's order, in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from caffe_compat.layers.base import BlobDef
from caffe_compat.schema.caffe_pb2 import SolverParameter
from caffe_compat.solver.rules import Group, Tensors, clip_scale, make_rule, product, regularize


class Learnable(Protocol):
    """A learnable parameter of a net; its gradient is ``tensor.grad``."""

    @property
    def tensor(self) -> torch.Tensor:
        """The values."""
        ...

    @property
    def lr_mult(self) -> float:
        """Factor of the learning rate."""
        ...

    @property
    def decay_mult(self) -> float:
        """Factor of the decay."""
        ...

    @property
    def blob(self) -> BlobDef:
        """Shape and orientation of the blob."""
        ...


class Updater:
    """The state of a solver between iterations: the histories of its rule, by parameter.

    `history` has tensors like the parameters, in the order of Caffe's snapshots; `updates` has the last update
    subtracted from each parameter (Caffe's diff after an iteration), or None.

    A parameter that cannot move (lr_mult 0, nothing in its history, nothing that enters it) is left out of all work.
    A history restored for a parameter that was frozen since goes on moving it, as in Caffe.
    """

    def __init__(self, param: SolverParameter, learnable: Sequence[Learnable], *, exact: bool = False) -> None:
        self.rule = make_rule(param, exact=exact)
        self._learnable = tuple(learnable)
        self._decay = param.weight_decay
        self._kind = param.regularization_type
        self._clip = param.clip_gradients
        self._passes = param.iter_size
        self.history = [
            torch.zeros_like(item.tensor, requires_grad=False)
            for _ in range(self.rule.histories)
            for item in self._learnable
        ]
        self.updates: list[torch.Tensor | None] = [None] * len(self._learnable)
        self.regroup()

    def history_blobs(self) -> list[npt.NDArray[np.float32]]:
        """Return the history as in a snapshot."""
        return [
            blob.to_caffe(value).cpu().contiguous().numpy()
            for blob, value in zip(self._blobs(), self.history, strict=True)
        ]

    @property
    def history_shapes(self) -> list[tuple[int, ...]]:
        """The shapes of the history in a snapshot."""
        return [blob.shape for blob in self._blobs()]

    def restore_history(self, recorded: Sequence[npt.NDArray[np.float32]]) -> None:
        """Take the history of a snapshot, in the shapes of `history_shapes`."""
        for value, blob, array in zip(self.history, self._blobs(), recorded, strict=True):
            value.copy_(blob.to_torch(torch.from_numpy(np.asarray(array, order="C"))))
        self.regroup()

    def _blobs(self) -> list[BlobDef]:
        return [item.blob for item in self._learnable] * self.rule.histories

    def show_updates(self) -> None:
        """Leave each parameter's last update as its gradient: Caffe's diff between iterations, for snapshot_diff."""
        for item, update in zip(self._learnable, self.updates, strict=True):
            item.tensor.grad = update

    def regroup(self) -> None:
        """Group the parameters by their multipliers; call it after the history was changed from outside."""
        groups: dict[tuple[float, float], list[int]] = {}
        for index, item in enumerate(self._learnable):
            if not self._idle(index):
                groups.setdefault((item.lr_mult, item.decay_mult), []).append(index)
        self._groups = [(self._group(*mults, indices), indices) for mults, indices in groups.items()]

    def _idle(self, index: int) -> bool:
        item = self._learnable[index]
        decays = not self.rule.rate_in_history and product(self._decay, item.decay_mult) != 0
        count = len(self._learnable)
        return item.lr_mult == 0 and not decays and not any(bool(h.any()) for h in self.history[index::count])

    def _group(self, lr_mult: float, decay_mult: float, indices: list[int]) -> Group:
        count = len(self._learnable)
        history = tuple([self.history[block * count + i] for i in indices] for block in range(self.rule.histories))
        return Group(lr_mult, decay_mult, [self._learnable[i].tensor.detach() for i in indices], history)

    def gradients(self) -> Tensors:
        """Return the existing gradients; a parameter without one counts as zero."""
        return [item.tensor.grad for item in self._learnable if item.tensor.grad is not None]

    @torch.no_grad()
    def apply(self, rate: float, iteration: int) -> tuple[float, float] | None:
        """Update every parameter from its gradient, which is overwritten; return its norm and factor where clipped."""
        grads = self.gradients()
        clipped = clip_scale(grads, self._clip)
        if clipped is not None:
            torch._foreach_mul_(grads, clipped[1])
        if self._passes > 1 and grads:
            torch._foreach_mul_(grads, product(1.0, 1.0 / self._passes))
        for group, indices in self._groups:
            owned = [self._gradient(i) for i in indices]
            decay = product(self._decay, group.decay_mult)
            regularize(owned, group.values, decay, self._kind, exact=self.rule.exact)
            updates = self.rule.updates(owned, group.history, product(rate, group.lr_mult), iteration)
            torch._foreach_sub_(group.values, updates)
            for index, update in zip(indices, updates, strict=True):
                self.updates[index] = update
        return clipped

    def _gradient(self, index: int) -> torch.Tensor:
        tensor = self._learnable[index].tensor
        return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
