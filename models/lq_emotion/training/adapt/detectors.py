"""The detectors that find the faces of clips."""

from __future__ import annotations

from pathlib import Path

from lq_emotion.faces.face import FaceDetector
from lq_emotion.faces.haar import Haar
from lq_emotion.faces.mtcnn import Mtcnn
from lq_emotion.nets.known.loading import load_parts


def make_detector(name: str, *, home: Path | None = None) -> FaceDetector:
    """Return a detector, ``haar`` or ``mtcnn``.

    Raises
    ------
    CaffeCompatError
        Its weights are not installed.
    """
    return Haar() if name == "haar" else Mtcnn(load_parts("mtcnn", home=home))
