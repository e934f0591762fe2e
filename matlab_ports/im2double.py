"""MATLAB's ``im2double``."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from matlab_ports._support.errors import PortError


def im2double(image: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Convert a picture to double; the range of an integer class becomes 0 .. 1.

    Parameters
    ----------
    image
        Class double, single or logical (values kept), uint8, uint16 or int16.

    Returns
    -------
    numpy.ndarray
        A new array of class double.

    Raises
    ------
    PortError
        For any other class.
    """
    pixels = np.asarray(image)
    values = pixels.astype(np.float64)
    if pixels.dtype in (np.uint8, np.uint16):
        return values / np.iinfo(pixels.dtype).max
    if pixels.dtype == np.int16:
        return (values + 32768) / 65535
    if pixels.dtype in (np.float64, np.float32, np.bool_):
        return values
    raise PortError(f"class {pixels.dtype} is not supported", where="im2double", hint="use a floating class or uint8")
