"""The authors' ``modcrop.m``: crop an image to sides that are multiples of a number."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from matlab_ports._support.errors import PortError


def modcrop(imgs: npt.NDArray[Any], modulo: int) -> npt.NDArray[Any]:
    """Crop `imgs` (H, W or H, W, C) at the bottom and the right.

    Parameters
    ----------
    imgs
        An image, (H, W) or (H, W, C).
    modulo
        The number that rows and columns become multiples of.

    Returns
    -------
    numpy.ndarray
        A view of `imgs`; empty if a side is shorter than `modulo`.

    Raises
    ------
    PortError
        `imgs` is not an image, or `modulo` is not positive.
    """
    if np.ndim(imgs) not in (2, 3):
        problem = f"has shape {np.shape(imgs)}, expected (H, W) or (H, W, C)"
        raise PortError(problem, code="shape-mismatch", field="imgs")
    if modulo < 1:
        raise PortError("must be at least 1", code="out-of-range", field="modulo", value=modulo)
    rows, columns = (n - n % modulo for n in imgs.shape[:2])
    return imgs[:rows, :columns]
