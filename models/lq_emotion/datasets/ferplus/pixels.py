"""The images of FER+, each decoded on demand: from Kaggle's fer2013.csv, or from PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import FileError, ParseError
from caffe_compat.formats.regular_file import require_regular
from lq_emotion.video.images import read_image

Image = npt.NDArray[np.uint8]
SIDE = 48
_COLUMNS = ("emotion", "pixels", "usage")


class Pixels(Protocol):
    """Decodes images."""

    def __call__(self, index: int) -> Image:
        """Return the image at a place, (48, 48) uint8."""


class PixelTable:
    """The images in fer2013.csv, ``emotion,pixels,Usage`` in any order of columns; `usages` has the Usage of each row.

    The table is read once, for the places of its rows; the pixels stay on the disk.
    """

    def __init__(self, path: Path) -> None:
        require_regular(path)
        self.path = path
        self._starts: list[int] = []
        usages: list[str] = []
        with path.open("rb") as file:
            names = [name.strip().lower() for name in file.readline().decode("utf-8-sig", "replace").split(",")]
            missing = next((name for name in _COLUMNS if name not in names), None)
            if missing:
                hint = "Kaggle's fer2013.csv has emotion,pixels,Usage"
                raise ParseError("missing column", code="field-missing", file=path, line=1, field=missing, hint=hint)
            self._column, usage = names.index("pixels"), names.index("usage")
            start = file.tell()
            for number, line in enumerate(file, 2):
                fields = line.split(b",")
                if len(fields) != len(names):
                    problem = f"{len(fields)} fields, expected {len(names)}"
                    raise ParseError(problem, code="wrong-count", file=path, line=number)
                self._starts.append(start)
                usages.append(fields[usage].strip().decode("utf-8", "replace"))
                start += len(line)
        self.usages = tuple(usages)

    def __call__(self, index: int) -> Image:
        """Return the image of a row, counted from 0; see `Pixels`."""
        with self.path.open("rb") as file:
            file.seek(self._starts[index])
            text = file.readline().split(b",")[self._column]
        try:
            values = np.array(text.strip(b' "\r\n').split(), np.int64)
        except (ValueError, OverflowError):
            values = np.array([-1])
        if values.size != SIDE * SIDE or values.min() < 0 or values.max() > 255:
            problem = f"pixels are not {SIDE} x {SIDE} whole numbers from 0 to 255"
            raise ParseError(problem, code="damaged-file", file=self.path, line=index + 2, field="pixels")
        return values.astype(np.uint8).reshape(SIDE, SIDE)


class PixelFiles:
    """Images as files; see `Pixels`."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)

    def __call__(self, index: int) -> Image:
        """Return an image; see `Pixels`."""
        path = self._paths[index]
        image = read_image(path)
        if image.shape != (SIDE, SIDE, 3):
            problem = f"the image is {image.shape[1]} x {image.shape[0]}, expected {SIDE} x {SIDE}"
            raise FileError(problem, code="shape-mismatch", file=path)
        return np.ascontiguousarray(image[..., 0])
