"""Nets whose weights are published: what is known about each, how their weights are recognised, fetched and loaded."""

from lq_emotion.nets.known.face_crop import FaceCrop
from lq_emotion.nets.known.loading import LoadedModel, load_model, load_parts
from lq_emotion.nets.known.model import KNOWN, KnownModel, Part, Task, find_model
from lq_emotion.nets.known.outputs import Dimension, Dimensions, Labels, Outputs
from lq_emotion.nets.known.recognition import Recognition, recognise
from lq_emotion.nets.known.store import Store

__all__ = [
    "KNOWN",
    "Dimension",
    "Dimensions",
    "FaceCrop",
    "KnownModel",
    "Labels",
    "LoadedModel",
    "Outputs",
    "Part",
    "Recognition",
    "Store",
    "Task",
    "find_model",
    "load_model",
    "load_parts",
    "recognise",
]
