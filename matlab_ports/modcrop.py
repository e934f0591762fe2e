"""The authors' ``modcrop.m``: crop a picture so that its sides are multiples of a number."""

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
        A picture, plain or with channels last.
    modulo
        What rows and columns shall be multiples of.

    Returns
    -------
    numpy.ndarray
        A view of `imgs`; empty where a side is shorter than `modulo`.

    Raises
    ------
    PortError
        If `imgs` is not a picture or `modulo` is not positive.
    """
    if np.ndim(imgs) not in (2, 3):
        raise PortError(f"shape {np.shape(imgs)} is not a picture", where="modcrop", hint="give H, W or H, W, C")
    if modulo < 1:
        raise PortError(f"{modulo} is not a positive whole number", where="modcrop: modulo")
    rows, columns = (n - n % modulo for n in imgs.shape[:2])
    return imgs[:rows, :columns]
