"""Several images as one source."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from caffe_compat.errors import CaffeCompatError, FileError
from caffe_compat.formats.image_size import TooManyPixelsError, has_several, open_image
from lq_emotion.video.frames import Frame, Image, Selection

if TYPE_CHECKING:
    from PIL.Image import Image as Pillow

_FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")  # those of `sources.IMAGES`
_BITS, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # tags of TIFF
_STRIP = 1 << 20  # pixels that are converted at a time


class Images:
    """Image files, which `every` counts; see `frames.Source`. Those that cannot be read are named in `problem`."""

    def __init__(self, paths: Sequence[Path], selection: Selection | None = None) -> None:
        self._paths, self._every = tuple(paths), (selection or Selection()).every
        self.name = self._paths[0].name if len(self._paths) == 1 else self._paths[0].resolve().parent.name
        self.clock, self.live, self.rate = "none", False, 0.0
        self.count: int | None = math.ceil(len(self._paths) / self._every)
        self.problem: CaffeCompatError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __iter__(self) -> Iterator[Frame]:
        bad: list[str] = []
        for index, path in enumerate(self._paths):
            if index % self._every:
                continue
            try:
                image = read_image(path)
            except FileError as error:
                bad.append(path.name)
                self.problem = error if len(bad) == 1 else _several(path.parent, bad)
                continue
            yield Frame(index, math.nan, image, name=path.name)


def read_image(path: Path) -> Image:
    """Read an image, turned upright by its EXIF data: (H, W, 3) uint8, red first.

    Gray images of 12 and 16 bits keep their most significant eight. At most `MAX_PIXELS` are read, in about ten bytes
    of memory each. Files of several images, or of pixels without a stated range, are refused.
    """
    from PIL import ImageOps, UnidentifiedImageError

    try:
        with open_image(path, formats=_FORMATS) as image:
            if has_several(image):
                problem = "contains several images, expected one"
                hint = "store each in a file of its own, or convert an animation to a video"
                raise FileError(problem, code="unsupported", file=path, hint=hint)
            shift = _shift(image, path)
            inverted = shift > 0 and image.format == "TIFF" and _tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO
            ImageOps.exif_transpose(image, in_place=True)
            pixels = _pixels(image, shift)
    except FileNotFoundError:
        raise FileError("no such file", code="file-missing", file=path) from None
    except UnidentifiedImageError:
        problem, hint = "is not a complete image in a known format", "expected JPEG, PNG, BMP, TIFF or WebP"
        raise FileError(problem, code="damaged-file", file=path, hint=hint) from None
    except TooManyPixelsError as error:
        raise FileError(str(error), code="too-large", file=path, hint="reduce the image first") from None
    except (OSError, SyntaxError, ValueError) as error:
        problem = f"cannot be read as an image: {error}"
        raise FileError(problem, code="damaged-file", file=path, hint="copy it again") from None
    return np.invert(pixels, out=pixels) if inverted else pixels


def _shift(image: Pillow, path: Path) -> int:
    """Return by how many bits the pixels exceed eight."""
    tiff = image.format == "TIFF"
    if image.mode == "F" or (image.mode == "I" and tiff):
        bits = _tag(image, _BITS)
        kind = "floating-point numbers" if image.mode == "F" else "signed or unsigned integers"
        problem = f"contains {kind} of {bits} bits, whose range is not known"
        raise FileError(problem, code="unsupported", file=path, hint="convert it to 8 or 16 bits per channel")
    if not image.mode.startswith("I"):
        return 0
    return (_tag(image, _BITS) if tiff else 16) - 8


def _tag(image: Pillow, tag: int) -> int:
    """Return the first value of a TIFF's tag."""
    value = image.tag_v2.get(tag, 0)  # type: ignore[attr-defined]  # a TIFF has tags
    return int(value[0] if isinstance(value, tuple) else value)


def _pixels(image: Pillow, shift: int) -> Image:
    """Return the pixels as RGB, converted strip by strip: Pillow has them in memory as well."""
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    rows = max(1, _STRIP // width)
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        if shift:  # Pillow clips what is above 255
            pixels[top : top + rows] = (np.asarray(strip) >> shift)[..., None]
        else:
            if strip.mode == "P":
                strip = strip.convert("RGBA")  # Pillow warns of a palette with transparency otherwise
            pixels[top : top + rows] = np.asarray(strip.convert("RGB"))
    return pixels


def _several(folder: Path, names: Sequence[str]) -> FileError:
    shown = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
    return FileError(f"{len(names)} images cannot be read: {shown}", code="damaged-file", file=folder)
