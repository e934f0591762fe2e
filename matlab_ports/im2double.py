"""MATLAB's ``im2double``: convert an image to double."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from matlab_ports._support.errors import PortError


def im2double(image: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Convert an image to double; the range of an integer class becomes 0 to 1.

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
        `image` has another class.
    """
    pixels = np.asarray(image)
    values = pixels.astype(np.float64)
    if pixels.dtype in (np.uint8, np.uint16):
        return values / np.iinfo(pixels.dtype).max
    if pixels.dtype == np.int16:
        return (values + 32768) / 65535
    if pixels.dtype in (np.float64, np.float32, np.bool_):
        return values
    problem = f"class {pixels.dtype} is not supported"
    hint = "use double, single, logical, uint8, uint16 or int16"
    raise PortError(problem, code="wrong-type", field="image", hint=hint)
