"""Detect all faces of an image with OpenCV's frontal cascade; see `faces.detect`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from lq_emotion.faces.detect import Cascade
from lq_emotion.faces.face import Face, Image, require_images


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
