"""Convolution by tiles: Toom-Cook's method at 0, infinity and the roots of unity.

A line of m outputs of a kernel of r taps is a product of polynomials, known from its values at m + r - 1 points.
Winograd's convolutions take small fractions as points and lose digits by their powers; the powers of roots of unity are
all of size 1, so that the error stays about that of a direct sum. The values at the roots are a Fourier transform of a
line that is real: two of them are real, the others complex and in conjugate pairs, of which one represents both.
A complex product of two tiles is made of three real ones.

======  =======  =======  =================  ==========
kernel  tile     outputs  products each      direct sum
======  =======  =======  =================  ==========
3 x 3   6 x 6    4 x 4    46 / 16 = 2.9      9
5 x 5   10 x 10  6 x 6    142 / 36 = 3.9     25
7 x 7   10 x 10  4 x 4    142 / 16 = 8.9     49
======  =======  =======  =================  ==========

Small tiles for small kernels: the weights' values, 36 for 9 or 100 for 25, have to be read from memory.

A line of values at the points has the one at 0, the one at infinity, the two real ones of the transform, then real
and imaginary part of each complex one.
"""

from __future__ import annotations

import functools
import math

import torch

Tensor = torch.Tensor

SIDES = {3: 6, 5: 10, 7: 10}
"""Values of a tile's side, by kernel."""
PRODUCTS = {6: 46, 10: 142}
"""Real products of a tile, by its side."""
_REAL = range(4)
_IN_CACHE = 2048
"""Kernels whose values at the points stay in a core's cache."""


def tile_count(taps: int, output: tuple[int, int]) -> int:
    """Return how many tiles cover an output (height, width)."""
    outputs = SIDES[taps] + 1 - taps
    return -(-output[0] // outputs) * -(-output[1] // outputs)


def _waves(count: int, side: int) -> Tensor:
    """Return real and imaginary parts of the first `count` powers of the roots, a line for each part."""
    power = torch.arange(count, dtype=torch.float64)
    lines = [torch.ones_like(power), torch.cos(math.pi * power)]
    for root in range(1, side // 2 - 1):
        angle = 2 * math.pi * root / (side - 2) * power
        lines += [torch.cos(angle), torch.sin(angle)]
    return torch.stack(lines)


def _ends(count: int) -> Tensor:
    """Return the two lines that take the first and the last of `count` values."""
    return torch.eye(count, dtype=torch.float64)[[0, -1]]


def kernel_matrix(taps: int, side: int) -> Tensor:
    """Return the matrix that takes a line of a kernel to its values, scaled for the way back: (side, taps)."""
    return torch.cat([_ends(taps), _waves(taps, side) / (side - 2)])


def input_matrix(side: int) -> Tensor:
    """Return the matrix that takes a line of a tile to its values (side, side)."""
    out = torch.zeros(side, side, dtype=torch.float64)
    out[0, [0, -2]] = out[1, [-1, 1]] = torch.tensor([1, -1], dtype=torch.float64)
    out[2:, 1:-1] = _waves(side - 1, side)[:, 1:]
    out[5::2] *= -1
    return out


def output_matrix(outputs: int, side: int) -> Tensor:
    """Return the matrix that takes a line of products to its outputs (outputs, side)."""
    out = torch.cat([_ends(outputs), _waves(outputs, side)])
    out[5::2] *= -1
    return out.t()


def _points(lines: Tensor) -> list[tuple[Tensor, ...]]:
    """Return tiles (side, side, ...) at the points, in the C code's order: (real,) or (real, imaginary)."""
    roots = range(4, len(lines), 2)
    out: list[tuple[Tensor, ...]] = []
    for i in _REAL:
        out += [(lines[i, j],) for j in _REAL]
        out += [(lines[i, j], lines[i, j + 1]) for j in roots]
    for i in roots:
        a, b = lines[i], lines[i + 1]
        out += [(a[j], b[j]) for j in _REAL]
        for j in roots:
            out += [(a[j] - b[j + 1], a[j + 1] + b[j]), (a[j] + b[j + 1], b[j] - a[j + 1])]
    return out


def _lines(points: list[tuple[Tensor, ...]], side: int) -> Tensor:
    """Return tiles (side, side, ...) of values at the points, so that the output matrix makes maps of them."""
    values, out, roots = iter(points), points[0][0].new_zeros(side, side, *points[0][0].shape), range(4, side, 2)
    for i in _REAL:
        for j in _REAL:
            (out[i, j],) = next(values)
        for j in roots:
            out[i, j], out[i, j + 1] = next(values)
    for i in roots:
        for j in _REAL:
            out[i, j], out[i + 1, j] = next(values)
        for j in roots:
            (real, imaginary), (real_2, imaginary_2) = next(values), next(values)
            out[i, j], out[i, j + 1] = real + real_2, imaginary - imaginary_2
            out[i + 1, j], out[i + 1, j + 1] = imaginary + imaginary_2, real_2 - real
    return out


@functools.cache
def weight_matrix(taps: int, *, conjugate: bool = False) -> Tensor:
    """Return the matrix that takes a kernel (taps taps, ...) to its values at the points (side side, ...), float64.

    Its transpose takes the gradient to those values to the gradient to the kernel. The conjugate values are the ones
    that the gradient to the bottom is multiplied with.
    """
    matrix = kernel_matrix(taps, SIDES[taps])
    lines = torch.einsum("ia,jb->ijab", matrix, matrix).flatten(2)
    values: list[Tensor] = []
    for point in _points(lines):
        factor = len(point)  # a complex one counts twice, for the conjugates
        values += [factor * part * sign for part, sign in zip(point, (1, -1 if conjugate else 1), strict=False)]
    return torch.stack(values)


def transform_weights(weight: Tensor) -> Tensor:
    """Return a kernel's values at the points, in the order of the C code: (side side, C, K) float64 of (K, C, r, r).

    Tap by tap: in what order a BLAS adds depends on the threads on some processors.
    """
    outputs, inputs, taps, _ = weight.shape
    matrix = weight_matrix(taps)
    kernels = weight.flatten(2).permute(2, 1, 0).double().flatten(1)
    values = kernels.new_empty(len(matrix), inputs * outputs)
    for first in range(0, inputs * outputs, _IN_CACHE):
        part, lines = (every[:, first : first + _IN_CACHE] for every in (values, kernels))
        torch.mul(matrix[:, :1], lines[0], out=part)
        for tap in range(1, len(lines)):
            part += matrix[:, tap, None] * lines[tap]
    return values.view(-1, inputs, outputs)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None, padding: tuple[int, int] = (0, 0)) -> Tensor:
    """Convolve (N, C, H, W) by tiles in plain torch: the C code's algorithm, for reading and for tests."""
    side = SIDES[weight.shape[-1]]
    outputs = side + 1 - weight.shape[-1]
    x = torch.nn.functional.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    height, width = (size + 1 - weight.shape[-1] for size in x.shape[2:])
    x = torch.nn.functional.pad(x, (0, -width % outputs, 0, -height % outputs))
    tiles = x.unfold(2, side, outputs).unfold(3, side, outputs)  # (N, C, down, across, side, side)
    matrix = input_matrix(side).to(x.dtype)
    factors = iter(transform_weights(weight).to(x.dtype))
    sums: list[tuple[Tensor, ...]] = []
    for a, *b in _points(torch.einsum("ia,jb,ncyxab->ijnyxc", matrix, matrix, tiles)):
        c, d = next(factors), next(factors) if b else None
        if d is None:
            sums.append((a @ c,))
        else:
            shared = (a + b[0]) @ c
            sums.append((shared - b[0] @ (c + d), shared + a @ (d - c)))
    matrix = output_matrix(outputs, side).to(x.dtype)
    top = torch.einsum("ai,bj,ijnyxk->nkyaxb", matrix, matrix, _lines(sums, side)).flatten(4).flatten(2, 3)
    top = top[:, :, :height, :width]
    return top if bias is None else top + bias[:, None, None]
