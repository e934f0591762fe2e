"""A slow transcription of `matlab_ports.imresize`: one output sample at a time, one tap at a time, exact cubes."""

import math
from fractions import Fraction

import numpy as np

EPS = 2.0**-52


def cubic(x):
    a = abs(x)
    a2 = a * a
    a3 = float(Fraction(a) ** 3)
    if a <= 1:
        return 1.5 * a3 - 2.5 * a2 + 1
    return -0.5 * a3 + 2.5 * a2 - 4 * a + 2 if a <= 2 else 0.0


def box(x):
    return 1.0 if -0.5 <= x < 0.5 else 0.0


def triangle(x):
    if -1 <= x < 0:
        return x + 1
    return 1 - x if 0 <= x <= 1 else 0.0


def lanczos2(x):
    f = (math.sin(math.pi * x) * math.sin(math.pi * x / 2) + EPS) / (math.pi**2 * (x * x) / 2 + EPS)
    return f if abs(x) < 2 else 0.0


def lanczos3(x):
    f = (math.sin(math.pi * x) * math.sin(math.pi * x / 3) + EPS) / (math.pi**2 * (x * x) / 3 + EPS)
    return f if abs(x) < 3 else 0.0


KERNELS = {
    "bicubic": (cubic, 4),
    "bilinear": (triangle, 2),
    "nearest": (box, 1),
    "box": (box, 1),
    "lanczos2": (lanczos2, 4),
    "lanczos3": (lanczos3, 6),
}


def taps(n_in, n_out, scale, method, antialiasing):
    """For every output sample its (weight, 0-based index) pairs, the columns that are zero everywhere left out."""
    kernel, width = KERNELS[method]
    stretched = scale < 1 and antialiasing
    if stretched:
        width = width / scale
    rows = []
    for x in range(1, n_out + 1):
        u = x / scale + 0.5 * (1 - 1 / scale)
        left = math.floor(u - width / 2)
        row = []
        for p in range(math.ceil(width) + 2):
            distance = u - (left + p)
            weight = scale * kernel(scale * distance) if stretched else kernel(distance)
            index = (left + p - 1) % (2 * n_in)
            row.append((weight, index if index < n_in else 2 * n_in - 1 - index))
        total = 0.0
        for weight, _ in row:
            total += weight
        rows.append([(weight / total, index) for weight, index in row])
    used = [p for p in range(len(rows[0])) if any(row[p][0] != 0 for row in rows)]
    return [[row[p] for p in used] for row in rows]


def store(value, dtype):
    """What storing the double `value` as `dtype` leaves of it."""
    if dtype.kind == "f":
        return float(dtype.type(value))
    limits = np.iinfo(dtype)
    rounded = math.floor(abs(value) + 0.5) * (1 if value >= 0 else -1)
    return float(min(max(rounded, limits.min), limits.max))


def along_first(picture, rows):
    out = np.empty((len(rows), picture.shape[1]), picture.dtype)
    for i, row in enumerate(rows):
        for j in range(picture.shape[1]):
            total = 0.0
            for weight, index in row:
                total += weight * float(picture[index, j])
            out[i, j] = store(total, picture.dtype)
    return out


def imresize(picture, scale, size, method, antialiasing):
    """Resize a matrix; `scale` and `size` per dimension."""
    for dimension in (0, 1) if scale[0] <= scale[1] else (1, 0):
        rows = taps(picture.shape[dimension], size[dimension], scale[dimension], method, antialiasing)
        picture = along_first(picture, rows) if dimension == 0 else along_first(picture.T, rows).T
    return picture
