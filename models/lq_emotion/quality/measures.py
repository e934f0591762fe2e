"""The conditions a face was seen under, measured in the frame itself."""

from __future__ import annotations

import math
from collections import deque
from statistics import median
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError
from lq_emotion.faces.face import Face, Image

Doubles = npt.NDArray[np.float64]
MEASURES = ("size", "sharpness", "bits", "brightness", "contrast")
_SIDE = 48  # pixels to which a face is resized before its sharpness is measured: that of FER-2013's images
_WINDOW = 25  # frames: a second of most videos


class Condition(NamedTuple):
    """The conditions a face was seen under."""

    size: float
    """The shorter side of the box, in pixels of the frame."""
    sharpness: float
    """Variance of the Laplacian of the gray face at 48 x 48 pixels; low if it is blurred."""
    bits: float
    """Bits per pixel of recent frames; NaN if unknown. See `RecentBits`."""
    brightness: float
    contrast: float
    """Standard deviation of the gray face, 0 to 255; brightness is its mean."""


def measure(image: Image, face: Face, bits: float = math.nan) -> Condition:
    """Measure the conditions of a face in a frame, (H, W, 3) uint8, red first; parts of its box may lie outside.

    The variance of the Laplacian as a measure of focus: Pech-Pacheco et al., "Diatom autofocusing in brightfield
    microscopy", ICPR 2000. The fixed size makes it comparable between faces; a face of fewer pixels is enlarged, and
    has less of it.
    """
    height, width = image.shape[:2]
    if not np.isfinite([face.x, face.y, face.width, face.height]).all():
        raise DataError("the box is not finite", code="not-finite", field="face", value=face)
    left, top = max(math.floor(face.x), 0), max(math.floor(face.y), 0)
    right, bottom = min(math.ceil(face.x + face.width), width), min(math.ceil(face.y + face.height), height)
    if left >= right or top >= bottom:
        problem = f"the box is outside the image of {width} x {height}"
        raise DataError(problem, code="out-of-range", field="face", value=face)
    crop = np.ascontiguousarray(image[top:bottom, left:right])
    gray = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    shrinks = min(gray.shape) > _SIDE
    same_size = cv2.resize(gray, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    sharpness = float(cv2.Laplacian(same_size, cv2.CV_64F).var())
    mean, deviation = float(np.mean(gray)), float(np.std(gray))
    return Condition(min(face.width, face.height), sharpness, float(bits), mean, deviation)


def table(conditions: list[Condition]) -> Doubles:
    """Return conditions as float64 (n, 5), in the order of `MEASURES`."""
    return np.array(conditions, np.float64).reshape(-1, len(MEASURES))


class RecentBits:
    """Bits per pixel of recent frames: the median over a second, so that key frames do not stand out.

    Call it once for each frame of a video, in the order in which they are shown, whether a face is seen or not. A new
    video needs a new object.
    """

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=_WINDOW)

    def __call__(self, bits: float, pixels: int) -> float:
        """Return the median of bits per pixel over the last frames, up to 25 with this one; NaN if all are unknown."""
        if math.isfinite(bits):
            self._recent.append(bits / pixels)
        return median(self._recent) if self._recent else math.nan
