"""Blobs: values and gradients in memory that NumPy and torch see alike."""

from __future__ import annotations

import math
from typing import Any, SupportsIndex, cast

import numpy as np
import numpy.typing as npt
import torch

from caffe_compat.layers import Shape
from caffe_compat.pycaffe.mode import CaffeError, device

Array = npt.NDArray[np.float32]

_CPU = torch.device("cpu")
_MAX_AXES = 32


class Memory:
    """Float32 numbers on the CPU and, where a GPU computes, there; the side last asked for is the true one.

    Parameters
    ----------
    size : how many numbers, all zero at first.
    """

    __slots__ = ("_away", "_here", "_home", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self._here: torch.Tensor | None = None
        self._away: torch.Tensor | None = None
        self._home = True

    def on(self, where: torch.device) -> torch.Tensor:
        """Return the numbers as a flat tensor on a device, to be read and written there."""
        if where.type == "cpu":
            return self._on_cpu()
        if self._away is None or self._away.device != where:
            self._away = self._on_cpu().to(where)
        elif self._home:
            self._away.copy_(self._on_cpu())
        self._home = False
        return self._away

    def _on_cpu(self) -> torch.Tensor:
        if self._here is None:
            self._here = torch.zeros(self.size)
        if not self._home and self._away is not None:
            self._here.copy_(self._away)
        self._home = True
        return self._here


class Blob:
    """One blob of a net or a layer: a shape, values (`data`) and gradients (`diff`).

    Both are float32 NumPy arrays that alias the blob's memory: what is written into them takes effect, and they show
    what later passes leave there. The memory stays until the blob grows beyond what it ever held.
    """

    def __init__(self, shape: tuple[int, ...] = (0,)) -> None:
        self._shape: Shape = (0,)
        self._count = self._capacity = 0
        self.data_memory = Memory(0)
        self.diff_memory = Memory(0)
        self.reshape(*shape)

    @property
    def shape(self) -> Shape:
        """The dimensions."""
        return self._shape

    @property
    def count(self) -> int:
        """The number of values."""
        return self._count

    @property
    def data(self) -> Array:
        """The values, (shape) float32."""
        return self.values().numpy()

    @property
    def diff(self) -> Array:
        """The gradients, (shape) float32."""
        return self.gradients().numpy()

    @property
    def num(self) -> int:
        """The first of four dimensions."""
        return self._legacy(0)

    @property
    def channels(self) -> int:
        """The second of four dimensions."""
        return self._legacy(1)

    @property
    def height(self) -> int:
        """The third of four dimensions."""
        return self._legacy(2)

    @property
    def width(self) -> int:
        """The fourth of four dimensions."""
        return self._legacy(3)

    def _legacy(self, axis: int) -> int:
        if len(self._shape) > 4:
            raise CaffeError(f"a blob of shape {self._shape} has no num, channels, height and width (use shape)")
        return self._shape[axis] if axis < len(self._shape) else 1

    @property
    def _gpu_data_ptr(self) -> int:
        return self.values(device()).data_ptr()

    @property
    def _gpu_diff_ptr(self) -> int:
        return self.gradients(device()).data_ptr()

    def values(self, where: torch.device = _CPU) -> torch.Tensor:
        """Return the values as a tensor that aliases them."""
        return self.data_memory.on(where)[: self._count].view(self._shape)

    def gradients(self, where: torch.device = _CPU) -> torch.Tensor:
        """Return the gradients as a tensor that aliases them."""
        return self.diff_memory.on(where)[: self._count].view(self._shape)

    def reshape(self, *shape: SupportsIndex, **named: Any) -> None:
        """Change the shape; values stay where they are in memory unless the blob outgrows it.

        Raises
        ------
        CaffeError
            A dimension is negative, or there are more than 32.
        """
        if named:
            raise CaffeError("Blob.reshape takes no kwargs")
        dims = tuple(int(cast("Any", dim)) for dim in shape)
        if any(dim < 0 for dim in dims) or len(dims) > _MAX_AXES:
            raise CaffeError(f"a blob cannot have the shape {dims} (up to {_MAX_AXES} dimensions, none negative)")
        self._shape, self._count = dims, math.prod(dims)
        if self._count > self._capacity:
            self._capacity = self._count
            self.data_memory, self.diff_memory = Memory(self._count), Memory(self._count)

    def share_data(self, other: Blob) -> None:
        """Use the memory of another blob's values; it must hold as many."""
        self.data_memory = other.data_memory

    def share_diff(self, other: Blob) -> None:
        """Use the memory of another blob's gradients."""
        self.diff_memory = other.diff_memory


class BlobVec(list[Blob]):
    """A list of blobs that can make its own."""

    def add_blob(self, *shape: SupportsIndex, **named: Any) -> None:
        """Append a blob of this shape."""
        if named:
            raise CaffeError("BlobVec.add_blob takes no kwargs")
        blob = Blob()
        blob.reshape(*shape)
        self.append(blob)
