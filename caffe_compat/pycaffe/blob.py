"""``caffe.Blob``: values and gradients in memory shared by NumPy and torch."""

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


class SyncedMemory:
    """Float32 numbers on the CPU and, in GPU mode, on the GPU; the side accessed last is authoritative."""

    __slots__ = ("_cpu", "_cpu_is_current", "_gpu", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self._cpu: torch.Tensor | None = None
        self._gpu: torch.Tensor | None = None
        self._cpu_is_current = True

    def on(self, where: torch.device) -> torch.Tensor:
        """Return the values as a flat tensor on a device, for reading and writing."""
        if where.type == "cpu":
            return self._on_cpu()
        if self._gpu is None or self._gpu.device != where:
            self._gpu = self._on_cpu().to(where)
        elif self._cpu_is_current:
            self._gpu.copy_(self._on_cpu())
        self._cpu_is_current = False
        return self._gpu

    def _on_cpu(self) -> torch.Tensor:
        if self._cpu is None:
            self._cpu = torch.zeros(self.size)
        if not self._cpu_is_current and self._gpu is not None:
            self._cpu.copy_(self._gpu)
        self._cpu_is_current = True
        return self._cpu


class Blob:
    """A blob of a net or layer: a shape, values (`data`) and gradients (`diff`).

    Both are float32 NumPy arrays that alias the blob's memory: writing to them changes the blob, and they show
    the results of later passes. The memory is reallocated only when the blob outgrows it.
    """

    def __init__(self, shape: tuple[int, ...] = (0,)) -> None:
        self._shape: Shape = (0,)
        self._count = self._capacity = 0
        self.data_memory = SyncedMemory(0)
        self.diff_memory = SyncedMemory(0)
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
            problem = "this blob has no num, channels, height and width"
            raise CaffeError(problem, code="shape-mismatch", field="shape", value=self._shape, hint="use shape")
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
        """Change the shape; the memory is kept unless the blob outgrows it."""
        if named:
            raise CaffeError("Blob.reshape takes no kwargs", code="field-unknown", value=sorted(named))
        dims = tuple(int(cast("Any", dim)) for dim in shape)
        if any(dim < 0 for dim in dims) or len(dims) > _MAX_AXES:
            hint = f"use up to {_MAX_AXES} non-negative dimensions"
            raise CaffeError("invalid blob shape", code="out-of-range", field="shape", value=dims, hint=hint)
        self._shape, self._count = dims, math.prod(dims)
        if self._count > self._capacity:
            self._capacity = self._count
            self.data_memory, self.diff_memory = SyncedMemory(self._count), SyncedMemory(self._count)

    def share_data(self, other: Blob) -> None:
        """Use the memory of another blob, which must have as many values."""
        self.data_memory = other.data_memory

    def share_diff(self, other: Blob) -> None:
        """Use the memory of another blob's gradients."""
        self.diff_memory = other.diff_memory


class BlobVec(list[Blob]):
    """A list of blobs that can create blobs."""

    def add_blob(self, *shape: SupportsIndex, **named: Any) -> None:
        """Append a new blob of a shape."""
        blob = Blob()
        blob.reshape(*shape, **named)
        self.append(blob)
