"""Decode images as Caffe does: with OpenCV, in BGR order, channels first.

OpenCV is imported where it is used: nets that read no images do not need it.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from caffe_compat.data.source import Origin
from caffe_compat.errors import FileError
from caffe_compat.formats.image_size import TooManyPixelsError, open_image
from caffe_compat.formats.regular_file import require_regular

Image = npt.NDArray[np.uint8] | npt.NDArray[np.float32]
"""(channels, height, width): bytes, or the float_data of a Datum."""

COLOR, GRAY, AS_STORED = 1, 0, -1  # OpenCV's IMREAD_COLOR, IMREAD_GRAYSCALE and IMREAD_UNCHANGED
_MAX_THREADS = 8
_PNG = b"\x89PNG\r\n\x1a\n"
_T = TypeVar("_T")
_R = TypeVar("_R")


def decode(content: bytes, flag: int, origin: Origin) -> npt.NDArray[np.uint8]:
    """Decode an image: (height, width, channels) uint8, BGR. COLOR and GRAY apply the EXIF orientation."""
    import cv2

    _check_pixels(content, origin)
    image = None
    if content:
        try:
            image = cv2.imdecode(np.frombuffer(content, np.uint8), flag)
        except cv2.error:
            image = None
    if image is None:
        hint = "check that the file is complete and in a format that OpenCV reads"
        raise origin.error("OpenCV cannot decode this image", code="damaged-file", hint=hint)
    if image.dtype != np.uint8:
        hint = "store it with 8 bits per channel"
        raise origin.error(f"pixels are {image.dtype}, expected uint8", code="wrong-type", hint=hint)
    return image.reshape(*image.shape[:2], -1)  # type: ignore[return-value]  # checked above


def _check_pixels(content: bytes, origin: Origin) -> None:
    """Refuse truncated PNGs and images with too many pixels; formats that Pillow does not read are left to OpenCV."""
    if content.startswith(_PNG) and not _chunks_fit(content):
        raise origin.error("truncated or damaged PNG", code="damaged-file", hint="copy it again")
    try:
        open_image(io.BytesIO(content)).close()
    except TooManyPixelsError as error:
        raise origin.error(str(error), code="too-large", hint="reduce the image first") from None
    except (OSError, SyntaxError, ValueError):
        return


def _chunks_fit(content: bytes) -> bool:
    """Return whether a PNG contains all of its chunks; OpenCV allocates the memory that a chunk declares."""
    position, chunk = len(_PNG), b""
    while chunk != b"IEND" and position + 8 <= len(content):
        chunk = content[position + 4 : position + 8]
        position += 12 + int.from_bytes(content[position : position + 4])
    return position <= len(content)


def channels_first(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return a view with the axes (channels, height, width)."""
    return image.transpose(2, 0, 1)


def resize(image: npt.NDArray[np.uint8], width: int, height: int) -> npt.NDArray[np.uint8]:
    """Resize (height, width, channels) with bilinear interpolation, OpenCV's default."""
    import cv2

    out = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return out.reshape(height, width, -1)  # type: ignore[return-value]  # OpenCV keeps the type


def read_file(name: str, base: Path, origin: Origin, hint: str | None = None) -> bytes:
    """Read a file named in a list, from the working directory (Caffe's rule), else from the folder `base`."""
    for path in (Path(name), base / name):
        try:
            require_regular(path)
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except FileError as error:
            raise origin.error(error.problem, code=error.code) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise origin.error(f"cannot be read: {reason}", code="file-unreadable") from None
    raise origin.error(
        "no such file", code="file-missing", hint=hint or f"looked in {Path.cwd()} and {base.absolute()}"
    )


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1), thread_name_prefix="caffe-decode")


def map_in_threads(work: Callable[[_T], _R], items: Iterable[_T]) -> list[_R]:
    """Map a function over items in threads, in order; OpenCV decodes several images at a time."""
    return list(_threads().map(work, items))


if hasattr(os, "register_at_fork"):  # POSIX
    os.register_at_fork(after_in_child=_threads.cache_clear)  # threads do not survive a fork
