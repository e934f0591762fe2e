"""The known models, which models.toml describes."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

from caffe_compat.build.preprocess import Preprocessing, parse_preprocessing
from caffe_compat.errors import DataError, did_you_mean
from caffe_compat.formats.files import read_net
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion import prototxt
from lq_emotion.nets.known.conversion import READERS, Blobs
from lq_emotion.nets.known.face_crop import FaceCrop
from lq_emotion.nets.known.outputs import Dimensions, Labels, Outputs

_MODELS = Path(__file__).with_name("models.toml")


class Task(StrEnum):
    """Purpose of a model."""

    EMOTION = "emotion"
    FACE_DETECTION = "face detection"
    FACE_RECOGNITION = "face recognition"
    IMAGE_CLASSES = "image classes"
    SUPER_RESOLUTION = "super-resolution"


@dataclass(frozen=True)
class Part:
    """One net of a model; `name` is the stem of its files: ``det1`` for ``det1.caffemodel``."""

    name: str
    file: str
    """Its prototxt, one of :func:`lq_emotion.prototxt.available`."""
    preprocessing: Preprocessing
    """Applied to an image before the net takes it."""

    def definition(self) -> pb.NetParameter:
        """Return the net to apply."""
        return read_net(prototxt.path(self.file))


@dataclass(frozen=True)
class Package:
    """A wheel of the Python registry that carries a model's weights."""

    name: str
    version: str
    sha256: str
    """Hash of the wheel."""
    files: Mapping[str, str]
    """The file in the wheel of each part."""
    licence: str
    """The file in the wheel with the licence's text."""
    read: Callable[[BinaryIO, str], Blobs]
    """Function from a file of the wheel and a part to blobs by layer."""


@dataclass(frozen=True)
class KnownModel:
    """A published model; models.toml describes each attribute."""

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


def _read_models() -> Iterator[KnownModel]:
    tables: dict[str, dict[str, Any]] = {}
    for table in tomllib.loads(_MODELS.read_text(encoding="utf-8"))["model"]:
        tables[table["name"]] = tables.get(table.get("like"), {}) | table
        yield _model(tables[table["name"]])


def _model(table: Mapping[str, Any]) -> KnownModel:
    preprocessing = parse_preprocessing(json.dumps({"version": 1} | table["preprocessing"]), _MODELS)
    copied = ("name", "title", "licence", "source", "trained_on", "limits")
    outputs: Outputs | None = Dimensions.from_json(table) if "dimensions" in table else None
    return KnownModel(
        **{key: table[key] for key in copied},
        task=Task(table["task"]),
        parts=tuple(
            Part(part, table.get("definition", f"known/{part}.prototxt"), preprocessing)
            for part in table.get("parts", [table["name"]])
        ),
        outputs=Labels(tuple(table["labels"])) if "labels" in table else outputs,
        crop=FaceCrop.from_json(table["crop"]) if "crop" in table else None,
        package=_package(**table["package"]) if "package" in table else None,
        verified=table.get("verified", False),
    )


def _package(*, format: str, **fields: Any) -> Package:  # noqa: A002  # the key in models.toml
    return Package(**fields, read=READERS[format])


KNOWN: tuple[KnownModel, ...] = tuple(_read_models())
"""In the order in which they are listed."""


def known_model(name: str | None) -> KnownModel | None:
    """Return the known model of a name in capital or small letters, or None."""
    return next((model for model in KNOWN if name and model.name.lower() == name.lower()), None)


def find_model(name: str) -> KnownModel:
    """Return a known model by its name, in capital or small letters; an error suggests the nearest name."""
    if model := known_model(name):
        return model
    names = [model.name for model in KNOWN]
    hint = did_you_mean(name, names) or f"known are {', '.join(names)}"
    raise DataError("there is no model of this name", code="name-unknown", field="model", value=name, hint=hint)
