"""MATLAB's ``rgb2ycbcr``: convert RGB to Y, Cb, Cr, to MATLAB's bits.

Double and uint8 are checked against values that MATLAB computed. Ties show that MATLAB multiplies the matrix by the
double 1/255 instead of dividing it by 255. ``single`` (accumulated in double, stored as single) and ``uint16`` follow
the documentation and are not recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from matlab_ports._support.errors import PortError

_MATRIX = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])
_OFFSET = np.array([16.0, 128.0, 128.0])
_SCALES = {  # of the matrix, of the offset
    "float64": (1 / 255, 1 / 255),
    "float32": (1 / 255, 1 / 255),
    "uint8": (1 / 255, 1.0),
    "uint16": (257 / 65535, 257.0),
}

_BLOCK = 1 << 14  # pixels per block, so that intermediate results stay in the cache


def rgb2ycbcr(rgb: npt.ArrayLike, *, planes: Sequence[int] = (0, 1, 2)) -> npt.NDArray[Any]:
    """Convert RGB to Y, Cb, Cr (ITU-R BT.601, Y in 16 to 235 for uint8).

    Parameters
    ----------
    rgb
        Class double, single, uint8 or uint16. An image (..., H, W, 3) or a colormap (M, 3): as in MATLAB, a matrix is
        taken for a colormap, so a gray image is refused.
    planes
        The planes to compute: 0 is Y, 1 is Cb, 2 is Cr.

    Returns
    -------
    numpy.ndarray
        The class and shape of `rgb`, with `planes` as the last axis. Integer classes are rounded, halves up, and
        clamped; floating classes are not.

    Raises
    ------
    PortError
        `rgb` has another class, or its last axis is not 3 long.
    """
    pixels = np.asarray(rgb)
    if pixels.dtype.name not in _SCALES:
        problem, hint = f"class {pixels.dtype} is not supported", f"use {', '.join(_SCALES)}"
        raise PortError(problem, code="wrong-type", field="rgb", hint=hint)
    if pixels.ndim < 2 or pixels.shape[-1] != 3:
        raise PortError(
            f"has shape {pixels.shape}, expected three colour planes",
            code="shape-mismatch",
            field="rgb",
            hint="repeat a gray plane three times",
        )
    matrix_scale, offset_scale = _SCALES[pixels.dtype.name]
    matrix, offset = matrix_scale * _MATRIX, offset_scale * _OFFSET
    out = np.empty((*pixels.shape[:-1], len(planes)), pixels.dtype)
    flat, results = pixels.reshape(-1, 3), out.reshape(-1, len(planes))
    total, term = np.empty(min(len(flat), _BLOCK)), np.empty(min(len(flat), _BLOCK))
    for start in range(0, len(flat), _BLOCK):
        block = flat[start : start + _BLOCK]
        y, t = total[: len(block)], term[: len(block)]
        for number, plane in enumerate(planes):
            red, green, blue = matrix[plane]
            np.multiply(block[:, 0], red, out=y)
            y += np.multiply(block[:, 1], green, out=t)
            y += np.multiply(block[:, 2], blue, out=t)
            y += offset[plane]
            if pixels.dtype.kind == "u":
                y += 0.5  # the cast below truncates; values stay within the class's range
            results[start : start + _BLOCK, number] = y
    return out
