"""The face of one picture, by OpenCV's frontal cascade (the Haar features of Viola and Jones, Lienhart's training).

The cascade ships inside opencv-python 4; version 5 dropped it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError, FileError

Gray = npt.NDArray[np.uint8]
_AROUND = 0.4  # of a face's side, searched on each side of where it was,
_KNOWN = 80  # pixels that face is made small to, as it is quicker found; the track is smoothed afterwards
_GROWTH = 1.3  # for a face so many times larger or smaller at most


class Box(NamedTuple):
    """A face, in pixels of the full picture, 1-based as in MATLAB."""

    left: float
    top: float
    width: float
    height: float


Detector = Callable[[Gray, Box | None], Box | None]
"""Takes a gray picture and the face before it, if there was one; returns the face, or None."""


class Cascade:
    """OpenCV's cascade on a picture made small.

    Parameters
    ----------
    path : of the cascade's XML; by default the frontal face one that ships with OpenCV.
    rows : pictures higher than this are made smaller: a face of 100 pixels in 720 has 40 there, and 24 are enough.
    smallest : side of the smallest face looked for, a part of the picture's height.
    neighbours : overlapping hits that make a face; fewer find more faces, and more that are none.

    Raises
    ------
    FileError
        There is no such cascade.
    DataError
        This OpenCV has none.
    """

    def __init__(
        self, path: str | Path | None = None, *, rows: int = 288, smallest: float = 0.1, neighbours: int = 5
    ) -> None:
        import cv2

        self._cv2 = cv2
        if not hasattr(cv2, "CascadeClassifier"):
            raise DataError(f"OpenCV {cv2.__version__} has no cascades", hint="pip install 'opencv-python<5'")
        folder = Path(cv2.data.haarcascades)  # type: ignore[attr-defined]  # its stub leaves it out
        file = folder / "haarcascade_frontalface_default.xml" if path is None else Path(path)
        if not file.is_file():
            raise FileError("no such file", file=file, hint="an XML file of a cascade")
        try:
            self._cascade = cv2.CascadeClassifier(str(file))
        except (cv2.error, SystemError):
            raise FileError("is no cascade of OpenCV", file=file) from None
        if self._cascade.empty():
            raise FileError("is no cascade of OpenCV", file=file)
        self._rows, self._smallest, self._neighbours = rows, smallest, neighbours

    def __call__(self, gray: Gray, before: Box | None = None) -> Box | None:
        """Return the face: near the one before, else the largest of the picture.

        Parameters
        ----------
        gray : (H, W) uint8.
        before : the face of the picture before.
        """
        found = None if before is None else self._near(gray, before)
        return found or self._anywhere(gray)

    def _near(self, gray: Gray, before: Box) -> Box | None:
        """Look around a face that was there, where it is known how large it will be."""
        factor = max(1.0, before.width / _KNOWN)
        small = self._smaller(gray, factor)
        left, top, right, bottom = _window(before, factor, small.shape)
        least, most = max(24, int(before.width / factor / _GROWTH)), int(before.width / factor * _GROWTH) + 1
        if min(right - left, bottom - top) < least:
            return None
        return self._largest(small[top:bottom, left:right], (least, most), (left, top), factor)

    def _anywhere(self, gray: Gray) -> Box | None:
        factor = max(1.0, gray.shape[0] / self._rows)
        small = self._smaller(gray, factor)
        least = max(24, round(self._smallest * small.shape[0]))
        return self._largest(small, (least, min(small.shape)), (0, 0), factor)

    def _smaller(self, gray: Gray, factor: float) -> Gray:
        size = (round(gray.shape[1] / factor), round(gray.shape[0] / factor))
        return np.asarray(self._cv2.resize(gray, size, interpolation=self._cv2.INTER_AREA), np.uint8)

    def _largest(self, gray: Gray, sides: tuple[int, int], corner: tuple[int, int], factor: float) -> Box | None:
        least, most = sides
        faces = self._cascade.detectMultiScale(
            np.ascontiguousarray(gray),
            scaleFactor=1.1,
            minNeighbors=self._neighbours,
            minSize=(least, least),
            maxSize=(most, most),
        )
        if len(faces) == 0:
            return None
        x, y, w, h = (float(value) for value in max(faces, key=lambda face: int(face[2]) * int(face[3])))
        return Box((x + corner[0]) * factor + 1, (y + corner[1]) * factor + 1, w * factor, h * factor)


def _window(box: Box, factor: float, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return the part of the small picture around a face: left, top, right, bottom, 0-based."""
    grown_x, grown_y = _AROUND * box.width, _AROUND * box.height
    left, top = (box.left - 1 - grown_x) / factor, (box.top - 1 - grown_y) / factor
    right, bottom = (box.left - 1 + box.width + grown_x) / factor, (box.top - 1 + box.height + grown_y) / factor
    return max(0, int(left)), max(0, int(top)), min(shape[1], round(right)), min(shape[0], round(bottom))
