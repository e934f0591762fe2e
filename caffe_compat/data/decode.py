"""Pictures as Caffe holds them: OpenCV's decoders, blue first, an axis of channels in front.

OpenCV is imported where it is needed: nets that read no pictures do without it.
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

from caffe_compat.data.origin import At
from caffe_compat.formats.image_size import TooManyPixelsError, open_picture

Picture = npt.NDArray[np.uint8] | npt.NDArray[np.float32]
"""(channels, height, width): bytes, or the numbers of a Datum's float_data."""

COLOR, GRAY, AS_STORED = 1, 0, -1  # OpenCV's IMREAD_COLOR, IMREAD_GRAYSCALE and IMREAD_UNCHANGED
_MOST_THREADS = 8
_PNG = b"\x89PNG\r\n\x1a\n"
_T = TypeVar("_T")
_R = TypeVar("_R")


def decode(content: bytes, flag: int, at: At) -> npt.NDArray[np.uint8]:
    """Return a coded picture as OpenCV holds it: (height, width, channels).

    Parameters
    ----------
    flag : COLOR, GRAY or AS_STORED; the first two heed the orientation that EXIF data tell.

    Raises
    ------
    DataError
        It cannot be decoded, has too many pixels, or its values are no bytes.
    """
    import cv2

    _check_pixels(content, at)
    picture = None
    if content:
        try:
            picture = cv2.imdecode(np.frombuffer(content, np.uint8), flag)
        except cv2.error:
            picture = None
    if picture is None:
        raise at.error("OpenCV cannot decode it", hint="is it a whole picture, of a kind that OpenCV knows?")
    if picture.dtype != np.uint8:
        raise at.error(f"its values are {picture.dtype}, not bytes", hint="store it with 8 bits a channel")
    return picture.reshape(*picture.shape[:2], -1)  # type: ignore[return-value]  # checked above


def _check_pixels(content: bytes, at: At) -> None:
    """Refuse what declares too many pixels, or more than the file; what Pillow does not know is left to OpenCV."""
    if content.startswith(_PNG) and not _chunks_fit(content):
        raise at.error("it is cut off, or damaged", hint="copy it again")
    try:
        open_picture(io.BytesIO(content)).close()
    except TooManyPixelsError as error:
        raise at.error(str(error), hint="shrink it first") from None
    except (OSError, SyntaxError, ValueError):
        return


def _chunks_fit(content: bytes) -> bool:
    """Tell whether a PNG holds its chunks: OpenCV takes as much memory as one says it has bytes."""
    place, kind = len(_PNG), b""
    while kind != b"IEND" and place + 8 <= len(content):
        kind = content[place + 4 : place + 8]
        place += 12 + int.from_bytes(content[place : place + 4])
    return place <= len(content)


def channels_first(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return a view with the axes (channels, height, width)."""
    return picture.transpose(2, 0, 1)


def resized(picture: npt.NDArray[np.uint8], width: int, height: int) -> npt.NDArray[np.uint8]:
    """Return (height, width, channels) in another size, interpolated linearly as OpenCV does by default."""
    import cv2

    out = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
    return out.reshape(height, width, -1)  # type: ignore[return-value]  # OpenCV keeps the type


def read_file(name: str, beside: Path, at: At, hint: str | None = None) -> bytes:
    """Return the bytes of a file named in a list: in the working directory (Caffe's rule), else in `beside`.

    Raises
    ------
    DataError
        It does not exist or cannot be read.
    """
    for path in (Path(name), beside / name):
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise at.error(f"cannot be read: {reason}") from None
    raise at.error("no such file", hint=hint or f"looked in {Path.cwd()} and {beside.absolute()}")


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1), thread_name_prefix="caffe-decode")


def side_by_side(work: Callable[[_T], _R], items: Iterable[_T]) -> list[_R]:
    """Return what `work` makes of every item, in order; OpenCV decodes several pictures at a time."""
    return list(_threads().map(work, items))


if hasattr(os, "register_at_fork"):  # POSIX
    os.register_at_fork(after_in_child=_threads.cache_clear)  # threads do not live on in a child
