"""All known models."""

from __future__ import annotations

from caffe_compat.errors import DataError, did_you_mean
from lq_emotion.nets.known.mini_xception import MINI_XCEPTION
from lq_emotion.nets.known.model import KnownModel
from lq_emotion.nets.known.mtcnn import MTCNN

KNOWN: tuple[KnownModel, ...] = (MINI_XCEPTION, MTCNN)
"""In the order in which they are listed."""

DEFAULT_EMOTION = MINI_XCEPTION.name
DEFAULT_DETECTOR = MTCNN.name


def find_model(name: str) -> KnownModel:
    """Return a known model by its name, in capital or small letters.

    Raises
    ------
    DataError
        No model is called so; the nearest name is suggested.
    """
    for model in KNOWN:
        if model.name.lower() == name.lower():
            return model
    names = [model.name for model in KNOWN]
    hint = did_you_mean(name, names) or f"known are {', '.join(names)}"
    raise DataError("no model is called so", code="name-unknown", field="model", value=name, hint=hint)
