"""The detectors that find the faces of clips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lq_emotion.faces.detect import Cascade
from lq_emotion.faces.face import Face, FaceDetector, Image

NAN = float("nan")


class LargestFace:
    """OpenCV's cascade as a `FaceDetector`: the largest face of each image, without a score."""

    def __init__(self) -> None:
        self._cascade = Cascade()

    def __call__(self, images: Sequence[Image]) -> list[list[Face]]:
        """Return a list of one face or none for each image."""
        return [self._find(image) for image in images]

    def _find(self, image: Image) -> list[Face]:
        import cv2
        import numpy as np

        box = self._cascade(np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8))
        return [] if box is None else [Face(box.left - 1, box.top - 1, box.width, box.height, NAN)]


def make_detector(name: str, *, home: Path | None = None) -> FaceDetector:
    """Return a detector, ``haar`` or ``mtcnn``.

    Raises
    ------
    CaffeCompatError
        Its weights are not installed.
    """
    if name == "haar":
        return LargestFace()
    from lq_emotion.faces.mtcnn import Mtcnn
    from lq_emotion.nets.known.loading import load_parts

    return Mtcnn(load_parts("mtcnn", home=home))
