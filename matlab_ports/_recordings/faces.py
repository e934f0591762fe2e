"""One gray face out of one crop, as ``prepare_dataset.m`` makes it; compiled where many are to come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from matlab_ports._support.contributions import Doubles, contributions, kernel_of
from matlab_ports.imresize import compiled_loops, imresize
from matlab_ports.rgb2ycbcr import rgb2ycbcr

Bytes = npt.NDArray[np.uint8]
Singles = npt.NDArray[np.float32]
Maker = Callable[[Bytes], Singles]

_WORTH_COMPILING = 1000  # faces: below it, loading the compiled loops would take longer than the work


def face_maker(side: int, *, expected: int) -> Maker:
    """Return the function that makes a crop, RGB (H, W, 3) or Y (H, W), a face (side, side).

    The face is ``imresize(single(Y) / 255, [side side])``. Which of the two ways it is computed depends on how many are
    `expected` and on Numba (the extra ``fast``); the bits do not.
    """
    compiled = compiled_loops() if expected >= _WORTH_COMPILING else None
    if compiled is None:
        return lambda crop: _plain(crop, side)
    return lambda crop: _fast(compiled, crop, side)


def _plain(crop: Bytes, side: int) -> Singles:
    gray = rgb2ycbcr(crop, planes=(0,))[..., 0] if crop.ndim == 3 else crop
    return imresize(gray.astype(np.float32) / np.float32(255), (side, side), threads=1)


def _taps(length: int, side: int) -> tuple[Doubles, npt.NDArray[np.intp]]:
    kernel, width, antialiasing = kernel_of("bicubic")
    weights, indices = contributions(length, side, side / length, kernel, width, antialiasing=antialiasing)
    return np.ascontiguousarray(weights), np.ascontiguousarray(indices)


def _fast(compiled: Any, crop: Bytes, side: int) -> Singles:
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
        compiled.resize_pictures(gray[None], *rows, *columns, *single, face)
    else:
        compiled.resize_pictures(np.ascontiguousarray(gray.T)[None], *columns, *rows, *single, face)
        face = face.transpose(0, 2, 1)
    result: Singles = face[0].astype(np.float32)
    return result
