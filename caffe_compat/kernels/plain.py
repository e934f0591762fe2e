"""Ordered products without a compiler: float32 fused multiply-adds computed in float64. Slow."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Offsets = npt.NDArray[np.int64]


def fma(a: Floats, b: Floats, c: Floats) -> Floats:
    """Return a b + c of float32 arrays, rounded once.

    The product of two float32 numbers is exact in float64. The sum is rounded to odd in float64, so that rounding it
    to float32 equals rounding the exact sum (Boldo and Melquiond 2008: 53 bits are more than 24 + 2).
    """
    with np.errstate(all="ignore"):
        x, y = np.multiply(a, b, dtype=np.float64), c.astype(np.float64)
        total = np.asarray(x + y)
        back = total - x
        error = (x - (total - back)) + (y - back)
        bits = total.view(np.int64)
        inexact = np.isfinite(total) & (error != 0) & (bits & 1 == 0)
        bits += np.where(inexact, np.where((error > 0) == (total > 0), 1, -1), 0)
        return total.astype(np.float32)


def add_scaled(values: Floats, terms: Floats, factor: np.float32) -> None:
    """See :func:`caffe_compat.kernels.compiled.add_scaled`."""
    values[...] = fma(np.asarray(factor), terms, values)


def pack(values: Floats, rows: Offsets, inner: Offsets) -> Floats:
    """Return the left factor of a product, as :func:`add_products` expects it."""
    return np.asarray(values[rows[:, None] + inner])


def add_products(
    packed: Floats,
    values: Floats,
    inner: Offsets,
    columns: Offsets,
    ends: Offsets,
    out: Floats,
    rows: Offsets,
    places: Offsets,
) -> None:
    """See :func:`caffe_compat.kernels.compiled.add_products`."""
    where = rows[:, None] + places
    total, start = out[where], 0
    for end in ends:
        block = np.zeros_like(total)
        for k in range(start, end):
            block = fma(packed[:, k, None], values[inner[k] + columns], block)
        with np.errstate(all="ignore"):
            total += block
        start = end
    out[where] = total
