"""The order of the sums, and the implementation that computes them.

OpenBLAS on the machine that recorded genuine Caffe (AVX-512, version 0.3.17 or later, more than one thread) sums a
matrix product in one of these ways, each checked against recorded values:

- Blocks: chains of up to 320 fused multiply-adds from 0, each block's sum added to the result in turn.
  The last two blocks have equal lengths.
- Small matrices, of at most a million multiply-adds: one chain of any length.
- Parts of small matrices: 16 lanes, product k in lane k mod 16, each lane a chain; then neighbouring lanes
  are added, or the upper half of the lanes to the lower half.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import numpy.typing as npt
import torch

from caffe_compat.kernels import plain
from caffe_compat.kernels.plain import Floats, Offsets

BLOCK = 320
"""Products per chain of OpenBLAS's sgemm (its Q on the recording machine)."""
FEW = 10**6
"""Multiply-adds up to which OpenBLAS uses its kernels for small matrices."""
LANES = 16
CHUNK = 256
"""Columns per piece of work: with a block of rows they fit in a core's L2 cache."""
SHORT = 1 << 21
"""Multiply-adds below which threads cost more than they save."""


@functools.cache
def implementation() -> ModuleType:
    """Return the module that multiplies: compiled if Numba is installed, else plain. Both compute the same bits."""
    try:
        from caffe_compat.kernels import compiled
    except ImportError:
        return plain
    return compiled


def block_ends(length: int, *, small: bool = False) -> Offsets:
    """Return the ends of the blocks of a sum of `length` products."""
    ends = [0]
    while ends[-1] < length:
        rest = length - ends[-1]
        size = rest if small or rest <= BLOCK else BLOCK if rest >= 2 * BLOCK else (rest + 1) // 2
        ends.append(ends[-1] + size)
    return np.array(ends[1:], np.int64)


def span(count: int, step: int = 1, start: int = 0) -> Offsets:
    """Return offsets `step` apart."""
    return start + step * np.arange(count, dtype=np.int64)


def grid(*axes: Offsets) -> Offsets:
    """Return all sums of one offset per axis; the last axis varies fastest."""
    return np.asarray(functools.reduce(np.add.outer, axes)).reshape(-1)


def chunks(count: int, size: int = CHUNK) -> list[slice]:
    """Split `count` into even pieces of at most `size`."""
    pieces = -(-count // size) or 1
    bounds = [count * i // pieces for i in range(pieces + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(bounds) if a < b]


def share(work: Callable[[slice], object], pieces: Iterable[slice], products: int) -> None:
    """Call `work` for every piece on as many threads as torch uses, and wait for all of them."""
    threads = torch.get_num_threads() if products > SHORT else 1
    if threads == 1:
        for piece in pieces:
            work(piece)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, pieces):
            pass


def flat(tensor: torch.Tensor) -> Floats:
    """Return a tensor's values as a flat array, without a copy if the tensor is contiguous."""
    values: Floats = tensor.detach().contiguous().numpy().reshape(-1)
    return values


@dataclass(frozen=True)
class Factor:
    """A matrix as offsets into flat values: `outer` of rows (left) or columns (right), `inner` along the sums."""

    values: Floats
    outer: Offsets
    inner: Offsets


def lane_sums(left: Factor, right: Factor, pairs: npt.NDArray[np.bool_]) -> Floats:
    """Return a product summed in 16 lanes; `pairs`, broadcast to (rows, columns), selects adding neighbours."""
    kernels, rows, columns = implementation(), left.outer.size, right.outer.size
    lanes = np.zeros((LANES, rows, columns), np.float32)
    for lane in range(min(LANES, left.inner.size)):
        inner = left.inner[lane::LANES]
        kernels.add_products(
            kernels.pack(left.values, left.outer, inner),
            right.values,
            right.inner[lane::LANES],
            right.outer,
            span(1, start=inner.size),
            lanes[lane].reshape(-1),
            span(rows, columns),
            span(columns),
        )
    neighbours = halves = lanes
    while len(halves) > 1:
        neighbours = neighbours[::2] + neighbours[1::2]
        halves = halves[: len(halves) // 2] + halves[len(halves) // 2 :]
    return np.asarray(np.where(pairs, neighbours[0], halves[0]))


def round_down(count: int, step: int) -> int:
    """Return the largest multiple of `step` that is at most `count`."""
    return count - count % step


def lane_start(columns: int, length: int, products: int) -> int:
    """Return the first column of an untransposed product that is summed in lanes; `columns` if none is."""
    few = length >= 32 and products <= FEW and columns % LANES <= LANES // 2
    return round_down(columns, LANES) if few else columns


def in_lanes_transposed(rows: int, columns: int, length: int) -> npt.NDArray[np.bool_] | None:
    """Return `pairs` of :func:`lane_sums` if a product by a transposed matrix is summed in lanes, else None."""
    if rows * columns > 1200 or length < 32 or rows * columns * length > FEW:
        return None
    return (np.arange(rows) < round_down(rows, 4))[:, None] | (np.arange(columns) < round_down(columns, 4))
