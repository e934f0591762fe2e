"""MATLAB's ``imread``, for the pictures the scripts read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from matlab_ports._support.errors import PortError

MOST_PIXELS = 2**28 // 3  # the limit of Pillow's warning: 256 MiB in RGB
_SMALL = 1 << 24  # bytes of pixels that any file may declare
_RATIO = 1032  # what deflate reaches at most


def imread(filename: str | Path) -> npt.NDArray[Any]:
    """Read a picture as MATLAB hands it to a script.

    Parameters
    ----------
    filename
        BMP, PNG, JPEG or TIFF. Lossless formats give MATLAB's pixels; JPEG decoders differ by a level here and there.

    Returns
    -------
    numpy.ndarray
        uint8: (H, W) for a gray picture, (H, W, 3) for a colour one, transparency left out. logical for two levels,
        uint16 for 16-bit gray.

    Raises
    ------
    PortError
        If the file is not a picture, is cut short, declares more than 89,478,485 pixels or more than it can hold, or
        holds what MATLAB gives as indices into a colormap.
    OSError
        If there is no such file.
    """
    path = Path(filename)
    if not path.exists():
        raise PortError("no such picture", where=path)
    try:
        with Image.open(path) as picture:
            mode, deep = picture.mode, picture.mode == "RGB" and ";16" in str(picture.tile)
            _require_size(picture, path.stat().st_size)
            picture.load()
            if mode == "RGBA":
                return np.asarray(picture)[..., :3].copy()
            if mode == "LA":
                return np.asarray(picture)[..., 0].copy()
            pixels = np.asarray(picture)
    except (
        OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning,
    ) as error:  # fmt: skip
        reason = str(error).replace(str(path), path.name)
        raise PortError(f"not a readable picture ({reason})", where=path) from None
    if deep or mode not in ("1", "L", "RGB", "I;16"):
        kind = "indices into a colormap" if mode == "P" else f"pixels of kind {mode}{', 16 bits each' if deep else ''}"
        raise PortError(f"holds {kind}", where=path, hint="convert it to 8-bit RGB")
    return pixels.copy()


def _require_size(picture: Image.Image, stored: int) -> None:
    """Refuse, before anything is decoded, what a file of `stored` bytes declares without measure."""
    size = f"{picture.width} x {picture.height} pixels"
    if picture.width * picture.height > MOST_PIXELS:
        raise ValueError(f"{size} are more than {MOST_PIXELS}")
    declared = picture.width * picture.height * len(picture.getbands()) // (8 if picture.mode == "1" else 1)
    if declared > _SMALL + _RATIO * stored:
        raise ValueError(f"{size} are more than a file of {stored} bytes can hold")
