"""The kernels of ``imresize``, and the weights with which input samples contribute to each output sample."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt

from matlab_ports._support.errors import PortError

Doubles = npt.NDArray[np.float64]
Kernel = Callable[[Doubles], Doubles]


def cubic(x: Doubles) -> Doubles:
    """Keys' cubic kernel with a = -0.5, width 4."""
    absx = np.abs(x)
    absx2 = absx * absx
    absx3 = cube(absx)
    inner = 1.5 * absx3 - 2.5 * absx2 + 1
    outer = -0.5 * absx3 + 2.5 * absx2 - 4 * absx + 2
    return np.where(absx <= 1, inner, np.where(absx <= 2, outer, 0.0))


def cube(x: Doubles) -> Doubles:
    """``x .^ 3`` rounded once: MATLAB calls pow, and ``x * x * x`` changes half of all results in the last bit.

    It uses additions and multiplications only, so that every processor gives the same bits. The pow of some MATLAB
    releases is an ulp off for a few arguments, such as 1.3; that is not reproduced.
    """
    square, square_error = _product(x, x)
    high, low = _product(square, x)
    return high + (low + square_error * x)


def _product(a: Doubles, b: Doubles) -> tuple[Doubles, Doubles]:
    """``a * b`` and its rounding error, exactly (Dekker; the factors split into halves of 26 bits)."""
    high = a * b
    splits = [(134217729.0 * v - (134217729.0 * v - v)) for v in (a, b)]
    (a1, b1), (a2, b2) = splits, (a - splits[0], b - splits[1])
    return high, ((a1 * b1 - high) + a1 * b2 + a2 * b1) + a2 * b2


def box(x: Doubles) -> Doubles:
    """The box kernel, one on [-0.5, 0.5), width 1: 'box' and, without antialiasing, 'nearest'."""
    return np.where((x >= -0.5) & (x < 0.5), 1.0, 0.0)


def triangle(x: Doubles) -> Doubles:
    """The bilinear kernel, width 2."""
    return np.where((x >= -1) & (x < 0), x + 1, np.where((x >= 0) & (x <= 1), 1 - x, 0.0))


def lanczos(x: Doubles, lobes: int) -> Doubles:
    """Lanczos' kernel, width ``2 * lobes``; eps keeps 0 / 0 away, as in MATLAB."""
    eps = np.finfo(np.float64).eps
    values = (_sin(np.pi * x) * _sin(np.pi * x / lobes) + eps) / (np.pi**2 * (x * x) / lobes + eps)
    return np.where(np.abs(x) < lobes, values, 0.0)


def _sin(x: Doubles) -> Doubles:
    """Compute the sine with the C library: NumPy's own differs between processors."""
    return np.array([math.sin(value) for value in x.flat]).reshape(x.shape)


_METHODS: dict[str, tuple[Kernel, float]] = {
    "nearest": (box, 1.0),
    "box": (box, 1.0),
    "bilinear": (triangle, 2.0),
    "triangle": (triangle, 2.0),
    "bicubic": (cubic, 4.0),
    "cubic": (cubic, 4.0),
    "lanczos2": (partial(lanczos, lobes=2), 4.0),
    "lanczos3": (partial(lanczos, lobes=3), 6.0),
}


def resolve_kernel(method: str | tuple[Kernel, float]) -> tuple[Kernel, float, bool]:
    """Return a kernel, its width, and whether antialiasing is on by default."""
    if not isinstance(method, str):
        return (*method, True)
    name = method.lower()
    if name not in _METHODS:
        hint = f"use {', '.join(_METHODS)}"
        raise PortError("unknown interpolation method", code="name-unknown", field="method", value=method, hint=hint)
    return (*_METHODS[name], name != "nearest")


@lru_cache(maxsize=64)
def contributions(
    in_length: int, out_length: int, scale: float, kernel: Kernel, kernel_width: float, *, antialiasing: bool
) -> tuple[Doubles, npt.NDArray[np.intp]]:
    """Return weights and 0-based indices, (out_length, taps) each, of the inputs of every output; see `imresize`."""
    h = kernel
    if scale < 1 and antialiasing:
        kernel_width = kernel_width / scale

        def h(x: Doubles) -> Doubles:
            return scale * kernel(scale * x)

    x = np.arange(1, out_length + 1, dtype=np.float64)
    u = x / scale + 0.5 * (1 - 1 / scale)
    left = np.floor(u - kernel_width / 2)
    taps = math.ceil(kernel_width) + 2
    indices = left[:, None] + np.arange(taps)
    weights = h(u[:, None] - indices)
    total = np.zeros(out_length)
    for column in weights.T:  # left to right: numpy.sum would add in pairs
        total += column
    weights = weights / total[:, None]
    mirror = np.concatenate((np.arange(in_length), np.arange(in_length - 1, -1, -1)))
    mirrored = mirror[np.mod(indices - 1, 2 * in_length).astype(np.intp)]
    used = weights.any(axis=0)
    weights, mirrored = weights[:, used], mirrored[:, used]
    weights.flags.writeable = mirrored.flags.writeable = False  # the cache hands them out again
    return weights, mirrored
