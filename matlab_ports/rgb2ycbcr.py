"""MATLAB's ``rgb2ycbcr``, to the bit.

Double and uint8 are checked against values MATLAB computed, ties included: they tell the matrix times the double 1/255
(used here, as there) from the matrix divided by 255. ``single`` (accumulated in double, stored as single) and
``uint16`` follow what is known of the source and are not recorded.
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

_BLOCK = 1 << 14  # pixels: what is computed with them stays in the cache


def rgb2ycbcr(rgb: npt.ArrayLike, *, planes: Sequence[int] = (0, 1, 2)) -> npt.NDArray[Any]:
    """Convert RGB to Y, Cb, Cr (ITU-R BT.601, Y in 16 .. 235 for uint8).

    Parameters
    ----------
    rgb
        Class double, single, uint8 or uint16. A picture (..., H, W, 3), or a colormap (M, 3): as in MATLAB a matrix is
        taken for a colormap, so a gray picture is refused.
    planes
        Which of Y, Cb, Cr to compute.

    Returns
    -------
    numpy.ndarray
        Of the shape and class of `rgb`, but for `planes`. Integer classes are rounded, halves up, and clamped;
        floating ones are not.

    Raises
    ------
    PortError
        For another class, or if the last axis is not the three colours.
    """
    pixels = np.asarray(rgb)
    if pixels.dtype.name not in _SCALES:
        raise PortError(f"class {pixels.dtype} is not supported", where="rgb2ycbcr", hint=f"use {', '.join(_SCALES)}")
    if pixels.ndim < 2 or pixels.shape[-1] != 3:
        raise PortError(
            f"shape {pixels.shape} has no three colour planes",
            where="rgb2ycbcr",
            hint="repeat a gray plane three times",
        )
    of_matrix, of_offset = _SCALES[pixels.dtype.name]
    matrix, offset = of_matrix * _MATRIX, of_offset * _OFFSET
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
                y += 0.5  # what is left of the point is cut off: nothing here is below 0 or above the class's range
            results[start : start + _BLOCK, number] = y
    return out
