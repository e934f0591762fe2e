"""The detectors of faces, by name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lq_emotion.faces.detect import Haar
from lq_emotion.faces.face import FaceDetector
from lq_emotion.faces.mtcnn import Mtcnn
from lq_emotion.faces.ultra_light import UltraLight
from lq_emotion.nets.known.loading import load_parts

if TYPE_CHECKING:
    import torch

DETECTORS = ("mtcnn", "ultra-light", "ultra-light-slim", "haar")


def load_detector(
    name: str, *, home: str | os.PathLike[str] | None = None, device: str | torch.device = "cpu"
) -> FaceDetector:
    """Return the detector of a name in `DETECTORS`; `home` is the folder of the installed models."""
    if name == "haar":
        return Haar()
    model = "ultra-light-rfb" if name == "ultra-light" else name
    nets = load_parts(model, home=home, device=device)
    return Mtcnn(nets) if name == "mtcnn" else UltraLight(nets[model])
