"""The inner loops of ``imresize``, and of a face's luma, compiled by Numba (the extra ``fast``).

Same taps, same order, every product rounded before it is added: the same bits as without Numba. Both passes of an image
stay in the cache; the second works on the transposed result of the first, so that both read contiguous samples.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

DOUBLE, SINGLE, UNSIGNED, SIGNED = range(4)  # how a pass stores its results


def _compile(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile at the first call, which takes seconds; the result is cached next to this file or in the user's cache."""
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither cache can be written
        return numba.njit(nogil=True)(function)


@_compile
def _accumulate(x: Array, weights: Array, indices: Array, out: Array) -> None:
    """Fill rows of `out` from rows of `x`, taps from left to right; four per pass over `out` to save memory traffic."""
    taps, n = weights.shape[1], out.shape[1]
    for r in range(out.shape[0]):
        o, w, i = out[r], weights[r], indices[r]
        for c in range(n):
            o[c] = 0.0
        t = 0
        while t + 4 <= taps:
            w0, w1, w2, w3 = w[t], w[t + 1], w[t + 2], w[t + 3]
            x0, x1, x2, x3 = x[i[t]], x[i[t + 1]], x[i[t + 2]], x[i[t + 3]]
            for c in range(n):
                o[c] = (((o[c] + w0 * x0[c]) + w1 * x1[c]) + w2 * x2[c]) + w3 * x3[c]
            t += 4
        while t < taps:
            w0, x0 = w[t], x[i[t]]
            for c in range(n):
                o[c] += w0 * x0[c]
            t += 1


@_compile
def _store(values: Array, kind: int, low: float, high: float) -> None:
    """Round `values` in place to the image's class: see `matlab_ports.imresize._round_to`."""
    for r in range(values.shape[0]):
        v = values[r]
        if kind == SINGLE:
            for c in range(v.size):
                v[c] = np.float32(v[c])
        elif kind == UNSIGNED:
            for c in range(v.size):
                v[c] = min(max(np.floor(v[c] + 0.5), low), high)
        elif kind == SIGNED:
            for c in range(v.size):
                v[c] = min(max(np.trunc(v[c] + np.copysign(0.5, v[c])), low), high)


@_compile
def _transpose(x: Array, out: Array) -> None:
    """Transpose eight rows at a time, which is twice as fast as plain loops."""
    n, m = x.shape
    blocked = n - n % 8
    for i in range(0, blocked, 8):
        a, b, c, d, e, f, g, h = x[i], x[i + 1], x[i + 2], x[i + 3], x[i + 4], x[i + 5], x[i + 6], x[i + 7]
        for j in range(m):
            o = out[j, i : i + 8]
            o[0], o[1], o[2], o[3], o[4], o[5], o[6], o[7] = a[j], b[j], c[j], d[j], e[j], f[j], g[j], h[j]
    for i in range(blocked, n):
        for j in range(m):
            out[j, i] = x[i, j]


@_compile
def resize_images(
    images: Array,
    weights1: Array,
    indices1: Array,
    weights2: Array,
    indices2: Array,
    kind: int,
    low: float,
    high: float,
    out: Array,
) -> None:
    """Resize `images` (count, n1, n2) in double into `out` (count, m1, m2), axis 1 before axis 2."""
    n2, m1, m2 = images.shape[2], out.shape[1], out.shape[2]
    once, turned, twice = np.empty((m1, n2)), np.empty((n2, m1)), np.empty((m2, m1))
    for k in range(images.shape[0]):
        _accumulate(images[k], weights1, indices1, once)
        _store(once, kind, low, high)
        _transpose(once, turned)
        _accumulate(turned, weights2, indices2, twice)
        _store(twice, kind, low, high)
        _transpose(twice, out[k])


@_compile
def luma(rgb: Array, out: Array) -> None:
    """``single(Y) / 255`` of a uint8 image, Y as `matlab_ports.rgb2ycbcr` rounds it, into doubles `out`."""
    red, green, blue = 65.481 * (1 / 255), 128.553 * (1 / 255), 24.966 * (1 / 255)
    for i in range(rgb.shape[0]):
        for j in range(rgb.shape[1]):
            y = ((red * rgb[i, j, 0] + green * rgb[i, j, 1]) + blue * rgb[i, j, 2]) + 16.0
            out[i, j] = np.float32(np.floor(y + 0.5)) / np.float32(255.0)


@lru_cache(maxsize=1)
def rounds_products() -> bool:
    """Whether the compiled loops round a product before it is added; a fused multiply-add would not."""
    a = 1 + 2.0**-30
    images, out = np.empty((1, 2, 33)), np.empty((1, 1, 33))
    images[0, 0], images[0, 1] = a * a, a
    identity = (np.ones((33, 1)), np.arange(33)[:, None])
    resize_images(images, np.array([[-1.0, a]]), np.array([[0, 1]]), *identity, DOUBLE, 0.0, 0.0, out)
    return not np.any(out)
