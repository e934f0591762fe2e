"""What is added to what, and who does it."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import numpy as np
import torch

from caffe_compat.kernels import plain
from caffe_compat.kernels.plain import Floats, Offsets

BLOCK = 320
"""Products that OpenBLAS's sgemm adds up before it adds to the result (its Q on the recording machine)."""
CHUNK = 256
"""Columns of a piece of work: with a block of rows they fit in a core's second cache."""
SMALL = 1 << 21
"""Multiply-adds below which threads cost more than they save."""


@functools.cache
def implementation() -> ModuleType:
    """Return the module that multiplies: compiled where Numba is installed, else plain. Both give the same bits."""
    try:
        from caffe_compat.kernels import compiled
    except ImportError:
        return plain
    return compiled


def block_ends(length: int) -> Offsets:
    """Return where the blocks of a sum of `length` products end."""
    return np.array([*range(BLOCK, length, BLOCK), length], np.int64)


def span(count: int, step: int = 1, start: int = 0) -> Offsets:
    """Return offsets `step` apart."""
    return start + step * np.arange(count, dtype=np.int64)


def grid(*axes: Offsets) -> Offsets:
    """Return all sums of an offset of each axis, the last axis running fastest."""
    return np.asarray(functools.reduce(np.add.outer, axes)).reshape(-1)


def chunks(count: int, size: int = CHUNK) -> list[slice]:
    """Return `count` in even pieces of at most `size`."""
    pieces = -(-count // size)
    bounds = [count * i // pieces for i in range(pieces + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(bounds)]


def share(work: Callable[[slice], object], pieces: Iterable[slice], products: int) -> None:
    """Call `work` for every piece, on as many threads as torch uses, all of which end before this returns."""
    threads = torch.get_num_threads() if products > SMALL else 1
    if threads == 1:
        for piece in pieces:
            work(piece)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, pieces):
            pass


def flat(tensor: torch.Tensor) -> Floats:
    """Return a tensor's values as a flat array, without copying those of a contiguous one."""
    values: Floats = tensor.detach().contiguous().numpy().reshape(-1)
    return values
