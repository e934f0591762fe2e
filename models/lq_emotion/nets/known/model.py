"""The record of a known model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from caffe_compat.build.preprocess import Preprocessing
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.nets.known.face_crop import FaceCrop
from lq_emotion.nets.known.outputs import Labels, Outputs


class Task(StrEnum):
    """What a model is for."""

    EMOTION = "emotion"
    FACE_DETECTION = "face detection"
    FACE_RECOGNITION = "face recognition"
    IMAGE_CLASSES = "image classes"
    SUPER_RESOLUTION = "super-resolution"


@dataclass(frozen=True)
class Part:
    """One net of a model.

    Attributes
    ----------
    name : of its files: ``det1`` for ``det1.caffemodel``.
    definition : returns the net to apply.
    preprocessing : what is done to an image before the net takes it.
    """

    name: str
    definition: Callable[[], pb.NetParameter]
    preprocessing: Preprocessing


@dataclass(frozen=True)
class Package:
    """A wheel of the Python registry that carries a model's weights.

    Attributes
    ----------
    name, version : of the distribution.
    sha256 : of the wheel.
    files : part -> the file in the wheel.
    licence : the file in the wheel with the licence's text.
    read : a file of the wheel and a part -> blobs by layer.
    """

    name: str
    version: str
    sha256: str
    files: Mapping[str, str]
    licence: str
    read: Callable[[BinaryIO, str], Mapping[str, Sequence[npt.NDArray[np.float32]]]]


@dataclass(frozen=True)
class KnownModel:
    """Everything that is known about a published model.

    Attributes
    ----------
    name : what users type.
    title : one line.
    task : what it is for.
    parts : its nets, in the order in which they are applied; most models have one.
    outputs : what its output means; None for nets that find faces.
    crop : how a face is cut out for it; None for nets that take whole images.
    licence : of the weights, as far as their authors state one.
    source : where the weights and the definition come from.
    trained_on : data.
    limits : what users should know before they believe an estimate.
    package : carries the weights; None if they can be had elsewhere only.
    verified : whether a test compares the definition with the published one.
    """

    name: str
    title: str
    task: Task
    parts: tuple[Part, ...]
    licence: str
    source: str
    trained_on: str
    limits: str
    outputs: Outputs | None = None
    crop: FaceCrop | None = None
    package: Package | None = None
    verified: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return what ``lq-emotion models show --json`` prints."""
        return {
            "name": self.name,
            "title": self.title,
            "task": str(self.task),
            "parts": [part.name for part in self.parts],
            "outputs": None if self.outputs is None else self.outputs.to_json(),
            "crop": None if self.crop is None else self.crop.to_json(),
            "licence": self.licence,
            "source": self.source,
            "trained_on": self.trained_on,
            "limits": self.limits,
            "package": None if self.package is None else f"{self.package.name}=={self.package.version}",
            "verified": self.verified,
        }

    @property
    def meaning(self) -> str:
        """Return what the outputs are, in a few words."""
        if self.outputs is None:
            return "faces" if self.task is Task.FACE_DETECTION else "-"
        if isinstance(self.outputs, Labels) and len(self.outputs.names) > 12:
            return f"{len(self.outputs.names)} classes"
        return str(self.outputs)
