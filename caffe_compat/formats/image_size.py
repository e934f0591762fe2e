"""How large a picture may be: looked at in its header, before anything is decoded.

A few bytes can declare more pixels than any machine holds, and a deflated picture can hold a thousand times its file.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from PIL import Image

MOST_PIXELS = 2**28 // 3
"""The limit of Pillow's warning: 256 MiB in RGB."""
_SMALL = 1 << 24  # bytes of pixels that any file may declare
_RATIO = 1032  # what deflate reaches at most


class TooManyPixelsError(ValueError):
    """A picture of more pixels than are decoded, or than its file can hold."""


def too_many(width: int, height: int) -> str | None:
    """Return what is wrong with a size of more than `MOST_PIXELS`, or None."""
    if width * height <= MOST_PIXELS:
        return None
    return f"{width} x {height} pixels are more than {MOST_PIXELS}, the most that a picture may have"


def open_picture(source: str | os.PathLike[str] | BinaryIO) -> Image.Image:
    """Open a picture with Pillow, which reads its header, and check its size against the file.

    Raises
    ------
    TooManyPixelsError
        It declares more than `MOST_PIXELS`, or more bytes than 16 MiB and 1032 for each of the file.
    OSError, SyntaxError, ValueError
        As Pillow has it for what is no picture.
    """
    from PIL import Image

    stored = _size(source)
    try:
        picture: Image.Image = Image.open(source)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooManyPixelsError(str(error)) from None
    problem = too_many(*picture.size)
    declared = picture.width * picture.height * len(picture.getbands()) // (8 if picture.mode == "1" else 1)
    if problem is None and declared > _SMALL + _RATIO * stored:
        problem = f"{picture.width} x {picture.height} pixels are more than a file of {stored} bytes can hold"
    if problem:
        picture.close()
        raise TooManyPixelsError(problem)
    return picture


def _size(source: str | os.PathLike[str] | BinaryIO) -> int:
    if isinstance(source, str | os.PathLike):
        return Path(source).stat().st_size
    position = source.tell()
    size = source.seek(0, io.SEEK_END)
    source.seek(position)
    return size
