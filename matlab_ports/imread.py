"""MATLAB's ``imread``: read an image of a format that the scripts use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from matlab_ports._support.errors import PortError
from matlab_ports._support.files import require_file

MAX_PIXELS = 2**28 // 3  # the limit of Pillow's warning: 256 MiB in RGB
_FORMATS = ("BMP", "PNG", "JPEG", "TIFF", "GIF")  # Pillow would start other programs for some
_SMALL = 1 << 24  # bytes of pixels that a file of any size may declare
_RATIO = 1032  # the largest ratio that deflate can reach


def imread(filename: str | Path) -> npt.NDArray[Any]:
    """Read an image as MATLAB returns it.

    Parameters
    ----------
    filename
        BMP, PNG, JPEG, TIFF or GIF, whatever its name; of several images the first, as in MATLAB. Lossless formats give
        MATLAB's pixels; JPEG decoders differ by one level in places.

    Returns
    -------
    numpy.ndarray
        uint8: (H, W) for a gray image, (H, W, 3) for a colour image, without transparency. bool for two levels, uint16
        for 16-bit gray.

    Raises
    ------
    PortError
        The file is missing or empty, is a named pipe, is not an image, is truncated, declares more than 89,478,485
        pixels or more than it can hold, or has indices into a colormap.
    """
    path = Path(filename)
    require_file(path)
    try:
        with Image.open(path, formats=_FORMATS) as image:
            mode, deep = image.mode, image.mode == "RGB" and ";16" in str(image.tile)
            _require_size(image, path.stat().st_size)
            image.load()
            if mode == "RGBA":
                return np.asarray(image)[..., :3].copy()
            if mode == "LA":
                return np.asarray(image)[..., 0].copy()
            pixels = np.asarray(image)
    except (
        OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning,
    ) as error:  # fmt: skip
        reason = str(error).replace(str(path), path.name)
        raise PortError(f"cannot be read as an image: {reason}", code="damaged-file", file=path) from None
    if deep or mode not in ("1", "L", "RGB", "I;16"):
        kind = "indices into a colormap" if mode == "P" else f"pixels of kind {mode}{', 16 bits each' if deep else ''}"
        raise PortError(f"contains {kind}", code="unsupported", file=path, hint="convert it to 8-bit RGB")
    return pixels.copy()


def _require_size(image: Image.Image, stored: int) -> None:
    """Refuse, before decoding, a file of `stored` bytes that declares too many pixels."""
    size = f"{image.width} x {image.height} pixels"
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"{size} are more than {MAX_PIXELS}")
    declared = image.width * image.height * len(image.getbands()) // (8 if image.mode == "1" else 1)
    if declared > _SMALL + _RATIO * stored:
        raise ValueError(f"{size} are more than a file of {stored} bytes can hold")
