"""Turn a crop into a gray face, as ``prepare_dataset.m`` does; compiled when many are to come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from matlab_ports._support.contributions import Doubles, contributions, resolve_kernel
from matlab_ports.imresize import imresize, load_compiled_loops
from matlab_ports.rgb2ycbcr import rgb2ycbcr

Bytes = npt.NDArray[np.uint8]
Singles = npt.NDArray[np.float32]
FaceMaker = Callable[[Bytes], Singles]

_WORTH_COMPILING = 1000  # faces: for fewer, loading the compiled loops takes longer than the work


def choose_face_maker(side: int, *, expected: int) -> FaceMaker:
    """Return the function that turns a crop, RGB (H, W, 3) or Y (H, W) in uint8, into a face (side, side) in single.

    The face is ``imresize(single(Y) / 255, [side side])``. The number of faces `expected` and Numba (the extra
    ``fast``) decide which implementation is used; the bits are the same.
    """
    compiled = load_compiled_loops() if expected >= _WORTH_COMPILING else None
    if compiled is None:
        return lambda crop: _make_face(crop, side)
    return lambda crop: _make_face_compiled(compiled, crop, side)


def _make_face(crop: Bytes, side: int) -> Singles:
    gray = rgb2ycbcr(crop, planes=(0,))[..., 0] if crop.ndim == 3 else crop
    return imresize(gray.astype(np.float32) / np.float32(255), (side, side), threads=1)


def _taps(length: int, side: int) -> tuple[Doubles, npt.NDArray[np.intp]]:
    kernel, width, antialiasing = resolve_kernel("bicubic")
    weights, indices = contributions(length, side, side / length, kernel, width, antialiasing=antialiasing)
    return np.ascontiguousarray(weights), np.ascontiguousarray(indices)


def _make_face_compiled(compiled: Any, crop: Bytes, side: int) -> Singles:
    height, width = crop.shape[:2]
    gray: Doubles = np.empty((height, width))
    if crop.ndim == 3:
        compiled.luma(np.ascontiguousarray(crop), gray)
    else:
        gray[...] = crop.astype(np.float32) / np.float32(255)
    rows, columns = _taps(height, side), _taps(width, side)
    face: Doubles = np.empty((1, side, side))
    single = (compiled.SINGLE, 0.0, 0.0)
    if height >= width:  # the dimension with the smaller scale goes first, rows where they tie
        compiled.resize_images(gray[None], *rows, *columns, *single, face)
    else:
        compiled.resize_images(np.ascontiguousarray(gray.T)[None], *columns, *rows, *single, face)
        face = face.transpose(0, 2, 1)
    result: Singles = face[0].astype(np.float32)
    return result
