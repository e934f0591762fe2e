"""Check the format and the size of an image in its header, before it is decoded.

A few bytes can declare more pixels than fit in memory, and a deflated image can be a thousand times larger than its
file. Pillow knows a format by its contents, whatever the name: for some it starts other programs.
"""

from __future__ import annotations

import io
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from caffe_compat.formats.regular_file import require_regular

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 2**28 // 3
"""The limit of Pillow's warning: 256 MiB in RGB."""
FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000", "SUN", "TGA", "AVIF")
"""Formats of pixels that Pillow decodes itself (JPEG includes MPO); for EPS it would start Ghostscript."""
_SMALL = 1 << 24  # bytes of pixels that a file of any size may declare
_RATIO = 1032  # the largest ratio that deflate can reach


_KIND_OF_PAGE, _REDUCED = 254, 1  # TIFF's NewSubfileType, and its bit of a smaller copy of another page


class TooManyPixelsError(ValueError):
    """An image with more pixels than the limit, or than its file can hold."""


def size_problem(width: int, height: int) -> str | None:
    """Return why an image of this size is refused, or None."""
    if width * height <= MAX_PIXELS:
        return None
    return f"{width} x {height} pixels are more than {MAX_PIXELS}, the largest size of an image"


def open_image(source: str | os.PathLike[str] | BinaryIO, *, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """Open an image with Pillow, which reads its header, and check its size against the file.

    `formats` are Pillow's names of those to try. An image may declare `MAX_PIXELS`, and at most 16 MiB plus 1032 bytes
    per byte of the file, else `TooManyPixelsError` is raised. Pillow raises OSError, SyntaxError or ValueError if the
    file is not an image in one of the formats.
    """
    from PIL import Image

    stored = _size(source)
    if not find_spec("PIL.AvifImagePlugin"):  # Pillow before 11.3
        formats = tuple(name for name in formats if name != "AVIF")
    try:
        image: Image.Image = Image.open(source, formats=formats)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooManyPixelsError(str(error)) from None
    problem = size_problem(*image.size)
    declared = image.width * image.height * len(image.getbands()) // (8 if image.mode == "1" else 1)
    if problem is None and declared > _SMALL + _RATIO * stored:
        problem = f"{image.width} x {image.height} pixels are more than a file of {stored} bytes can hold"
    if problem:
        image.close()
        raise TooManyPixelsError(problem)
    return image


def has_several(image: Image.Image) -> bool:
    """Tell whether a file contains several images: an animation, or pages.

    What a camera adds to its photograph (MPO) and the reduced copies in a TIFF do not count. The first image is
    selected afterwards.
    """
    if image.format == "MPO" or not getattr(image, "is_animated", False):
        return False
    if image.format != "TIFF":
        return True
    try:
        image.seek(1)
        while int(image.tag_v2.get(_KIND_OF_PAGE, 0)) & _REDUCED:  # type: ignore[attr-defined]  # a TIFF has tags
            image.seek(image.tell() + 1)
    except EOFError:
        return False
    finally:
        image.seek(0)
    return True


def _size(source: str | os.PathLike[str] | BinaryIO) -> int:
    if isinstance(source, str | os.PathLike):
        require_regular(source)
        return Path(source).stat().st_size
    position = source.tell()
    size = source.seek(0, io.SEEK_END)
    source.seek(position)
    return size
