"""Matrix products whose sums are added up in a defined order."""

from __future__ import annotations

import numpy as np
import torch

from caffe_compat.kernels.order import block_ends, chunks, implementation, share, span
from caffe_compat.kernels.plain import Floats


def product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return left (M, K) times right (K, N), float32 on the CPU, any strides; M, K and N may be 0."""
    (m, length), n = left.shape, right.shape[1]
    result = np.zeros((m, n), np.float32)
    if not result.size or not length:
        return torch.from_numpy(result)
    (a, down_a, along_a), (b, along_b, right_b) = _memory(left), _memory(right)
    kernels, ends, out = implementation(), block_ends(length), result.reshape(-1)
    packed = kernels.pack(a, span(m, down_a), span(length, along_a))

    def work(piece: slice) -> None:
        columns = span(n)[piece]
        kernels.add_products(packed, b, span(length, along_b), columns * right_b, ends, out, span(m, n), columns)

    share(work, chunks(n), m * n * length)
    return torch.from_numpy(result)


def _memory(matrix: torch.Tensor) -> tuple[Floats, int, int]:
    """Return a matrix's values as they lie in memory, and how far apart rows and columns lie."""
    matrix = matrix.detach()
    if not (matrix.is_contiguous() or matrix.t().is_contiguous()):
        matrix = matrix.contiguous()
    size = matrix.numel()
    return matrix.as_strided((size,), (1,)).numpy(), matrix.stride(0), matrix.stride(1)
