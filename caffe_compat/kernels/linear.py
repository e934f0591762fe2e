"""Matrix products summed in a defined order."""

from __future__ import annotations

import enum

import numpy as np
import torch

from caffe_compat.kernels.order import (
    FEW,
    Factor,
    block_ends,
    chunks,
    flat,
    implementation,
    in_lanes_transposed,
    lane_start,
    lane_sums,
    round_down,
    share,
    span,
)
from caffe_compat.kernels.plain import Floats


class Kind(enum.Enum):
    """The factor that Caffe passes to OpenBLAS as transposed; the order of small products depends on it."""

    PLAIN = "neither"
    BY_TRANSPOSED = "the right factor"
    TRANSPOSED = "the left factor"


def product(left: torch.Tensor, right: torch.Tensor, kind: Kind = Kind.PLAIN) -> torch.Tensor:
    """Return left (M, K) times right (K, N), float32 on the CPU, with any strides; M, K and N may be 0."""
    (m, length), n = left.shape, right.shape[1]
    result = np.zeros((m, n), np.float32)
    if not result.size or not length:
        return torch.from_numpy(result)
    (a, down_a, along_a), (b, along_b, right_b) = _memory(left), _memory(right)
    rows, columns = Factor(a, span(m, down_a), span(length, along_a)), span(n, right_b)
    inner, small = span(length, along_b), m * n * length <= FEW
    first, pairs = n, np.broadcast_to(np.arange(n) < round_down(n, 4), (m, n))
    if kind is Kind.BY_TRANSPOSED:
        lanes = in_lanes_transposed(m, n, length)
        first, pairs, small = (n, pairs, False) if lanes is None else (0, lanes, small)
    elif kind is Kind.PLAIN:
        first = lane_start(n, length, m * n * length)
    kernels, ends, out = implementation(), block_ends(length, small=small), result.reshape(-1)
    packed = kernels.pack(rows.values, rows.outer, rows.inner)

    def work(piece: slice) -> None:
        kernels.add_products(packed, b, inner, columns[piece], ends, out, span(m, n), span(n)[piece])

    share(work, chunks(first), m * first * length)
    if first < n:
        result[:, first:] = lane_sums(rows, Factor(b, columns[first:], inner), pairs[:, first:])
    return torch.from_numpy(result)


def add_scaled(values: torch.Tensor, terms: torch.Tensor, factor: float) -> None:
    """Add `factor` times `terms` to `values`, float32 on the CPU, rounded once as in OpenBLAS's saxpy."""
    result = flat(values)
    implementation().add_scaled(result, flat(terms), np.float32(factor))
    if not values.is_contiguous():
        values.copy_(torch.from_numpy(result).view(values.shape))


def _memory(matrix: torch.Tensor) -> tuple[Floats, int, int]:
    """Return a matrix's values in memory order, and the strides of its rows and columns."""
    matrix = matrix.detach()
    if not (matrix.is_contiguous() or matrix.t().is_contiguous()):
        matrix = matrix.contiguous()
    size = matrix.numel()
    return matrix.as_strided((size,), (1,)).numpy(), matrix.stride(0), matrix.stride(1)
