"""Detect faces with OpenCV's frontal cascade (Haar features of Viola and Jones, trained by Lienhart).

The cascade ships with opencv-python 4; version 5 dropped it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError, FileError
from lq_emotion.faces.face import Face, Image, require_images

Gray = npt.NDArray[np.uint8]
_MARGIN = 0.4  # of a face's side: how far beyond the previous box to search on each side
_TRACKED_SIDE = 80  # pixels to which a face is reduced, for speed, while it is tracked; the track is smoothed later
_NEIGHBOURS = 5  # overlapping hits that make a face: fewer give more faces, and more false ones
_GROWTH = 1.3  # largest change in size between two detections


class Box(NamedTuple):
    """The box of a face in pixels of the full image, 1-based as in MATLAB."""

    left: float
    top: float
    width: float
    height: float


Detector = Callable[[Gray, Box | None], Box | None]
"""(gray image (H, W), previous face or None) -> face or None."""


class Cascade:
    """OpenCV's cascade on a reduced image.

    Images taller than `max_height` are reduced to it; a face of 100 pixels in 720 rows then has 40, and 24 are enough.
    `min_face` is the side of the smallest face, as a fraction of the image's height.
    """

    def __init__(self, path: str | Path | None = None, *, max_height: int = 288, min_face: float = 0.1) -> None:
        if not hasattr(cv2, "CascadeClassifier"):
            raise DataError(
                f"OpenCV {cv2.__version__} has no cascades", code="dependency-missing",
                hint="pip install 'opencv-python<5'",
            )  # fmt: skip
        folder = Path(cv2.data.haarcascades)  # type: ignore[attr-defined]  # missing from its stub
        file = folder / "haarcascade_frontalface_default.xml" if path is None else Path(path)
        if not file.is_file():
            raise FileError("no such file", code="file-missing", file=file, hint="give the XML file of a cascade")
        try:
            self._cascade = cv2.CascadeClassifier(str(file))
        except (cv2.error, SystemError):
            raise FileError("not an OpenCV cascade", code="wrong-format", file=file) from None
        if self._cascade.empty():
            raise FileError("not an OpenCV cascade", code="wrong-format", file=file)
        self._max_height, self._min_face = max_height, min_face

    def __call__(self, gray: Gray, previous: Box | None = None) -> Box | None:
        """Return a face of a (H, W) image near that of the previous frame, else the largest face, else None."""
        near = [] if previous is None else self._near(gray, previous)
        return max(near or self.all(gray), key=lambda box: box.width * box.height, default=None)

    def _near(self, gray: Gray, previous: Box) -> list[Box]:
        """Search around the previous face for a face of about its size."""
        factor = max(1.0, previous.width / _TRACKED_SIDE)
        small = self._reduce(gray, factor)
        left, top, right, bottom = _search_window(previous, factor, small.shape)
        side = previous.width / factor
        min_side, max_side = max(24, int(side / _GROWTH)), int(side * _GROWTH) + 1
        if min(right - left, bottom - top) < min_side:
            return []
        return self._hits(small[top:bottom, left:right], (min_side, max_side), (left, top), factor)

    def all(self, gray: Gray) -> list[Box]:
        """Return all faces of an image (H, W) uint8."""
        factor = max(1.0, gray.shape[0] / self._max_height)
        small = self._reduce(gray, factor)
        min_side = max(24, round(self._min_face * small.shape[0]))
        return self._hits(small, (min_side, min(small.shape)), (0, 0), factor)

    def _reduce(self, gray: Gray, factor: float) -> Gray:
        size = (max(1, round(gray.shape[1] / factor)), max(1, round(gray.shape[0] / factor)))
        return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8)

    def _hits(self, gray: Gray, sides: tuple[int, int], corner: tuple[int, int], factor: float) -> list[Box]:
        min_side, max_side = sides
        faces = self._cascade.detectMultiScale(
            np.ascontiguousarray(gray),
            scaleFactor=1.1,
            minNeighbors=_NEIGHBOURS,
            minSize=(min_side, min_side),
            maxSize=(max_side, max_side),
        )
        return [
            Box((x + corner[0]) * factor + 1, (y + corner[1]) * factor + 1, w * factor, h * factor)
            for x, y, w, h in (map(float, face) for face in faces)
        ]


def _search_window(box: Box, factor: float, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of the region around a face in the reduced image, 0-based."""
    margin_x, margin_y = _MARGIN * box.width, _MARGIN * box.height
    left, top = (box.left - 1 - margin_x) / factor, (box.top - 1 - margin_y) / factor
    right, bottom = (box.left - 1 + box.width + margin_x) / factor, (box.top - 1 + box.height + margin_y) / factor
    return max(0, int(left)), max(0, int(top)), min(shape[1], round(right)), min(shape[0], round(bottom))


class Haar:
    """OpenCV's cascade, a `FaceDetector`: fast, without weights to fetch.

    It misses faces that are turned, or smaller than 5 % of the image's height.
    """

    def __init__(self, cascade: Cascade | None = None) -> None:
        self._cascade = cascade or Cascade(max_height=480, min_face=0.05)

    def __call__(self, images: Sequence[Image]) -> list[list[Face]]:
        """Return the faces of each image, the largest first, without scores and landmarks; see `FaceDetector`."""
        require_images(images)
        return [self._faces(image) for image in images]

    def _faces(self, image: Image) -> list[Face]:
        gray = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
        boxes = sorted(self._cascade.all(gray), key=lambda box: -box.width)
        return [Face(box.left - 1, box.top - 1, box.width, box.height, math.nan) for box in boxes]
