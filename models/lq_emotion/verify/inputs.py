"""The images that every network is run on: the same on every machine, with every version of NumPy."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from lq_emotion.nets.blocks import SIZE
from lq_emotion.verify.results import InputImages

Batch = npt.NDArray[np.float32]
NAMES = ("noise", "ramp", "checks", "face")


def fixed_inputs() -> Batch:
    """Return four images (4, 1, 96, 96), float32 from 0 to 1, of multiples of 2**-16.

    Noise; a ramp over both axes; a checkerboard of 8 x 8 that darkens downwards; two dark discs and a bar on a lighter
    one, with a little noise. Whole numbers and the raw words of PCG64 are the same everywhere.
    """
    rows, columns = np.mgrid[:SIZE, :SIZE]
    words = np.random.PCG64(1709_03126).random_raw(2 * SIZE * SIZE)
    noise = (words >> np.uint64(48)).astype(np.int64).reshape(2, SIZE, SIZE)
    ramp = (rows * 2 + columns) * 200
    checks = np.where((rows // 8 + columns // 8) % 2, 60000 - 500 * rows, 8000)
    face = np.where(_disc(rows - 48, columns - 48, 40), 45000, 15000)
    dark = _disc(rows - 38, columns - 34, 5) | _disc(rows - 38, columns - 62, 5)
    dark |= (abs(rows - 66) < 3) & (abs(columns - 48) < 14)
    face = np.where(dark, 12000, face) + noise[1] // 16
    whole = np.stack([noise[0], ramp, checks, face])
    return (whole / 65536).astype(np.float32)[:, None]


def _disc(rows: Any, columns: Any, radius: int) -> Any:
    return rows * rows + columns * columns <= radius * radius


def described(batch: Batch) -> InputImages:
    """Return names, shape and SHA-256 of the inputs."""
    return InputImages(NAMES, batch.shape, hashlib.sha256(np.ascontiguousarray(batch, "<f4").tobytes()).hexdigest())
