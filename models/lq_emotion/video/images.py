"""Several images as one source."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from caffe_compat.errors import CaffeCompatError, FileError
from caffe_compat.formats.image_size import TooManyPixelsError, open_image
from lq_emotion.video.frames import Frame, Image, Selection

if TYPE_CHECKING:
    from PIL.Image import Image as Pillow


class Images:
    """Image files; see `frames.Source`. A file that cannot be read is left out and named in `problem`.

    Parameters
    ----------
    paths : the files.
    selection : `every` counts files; images have no times.
    """

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
    """Read an image, turned upright as its EXIF data says: (H, W, 3) uint8, red first.

    Raises
    ------
    FileError
        The file is missing or cannot be decoded.
    """
    from PIL import ImageOps

    try:
        with open_image(path) as image:
            upright = ImageOps.exif_transpose(image)
            return _high_bytes(upright) if upright.mode.startswith("I") else np.array(upright.convert("RGB"), np.uint8)
    except FileNotFoundError:
        raise FileError("no such file", code="file-missing", file=path) from None
    except (OSError, SyntaxError, ValueError, TooManyPixelsError) as error:
        problem = f"cannot be read as an image: {error}"
        raise FileError(problem, code="damaged-file", file=path, hint="copy it again") from None


def _high_bytes(image: Pillow) -> Image:
    """Return 16-bit gray as 8 bits; Pillow clips what is above 255."""
    return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., None], 3, axis=2)


def _several(folder: Path, names: Sequence[str]) -> FileError:
    shown = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
    return FileError(f"{len(names)} images cannot be read: {shown}", code="damaged-file", file=folder)
