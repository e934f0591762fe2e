"""All known models, read from models.toml."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from caffe_compat.build.preprocess import parse_preprocessing
from caffe_compat.errors import DataError, did_you_mean
from lq_emotion.nets.known.conversion import READERS
from lq_emotion.nets.known.face_crop import FaceCrop
from lq_emotion.nets.known.model import KnownModel, Package, Part, Task
from lq_emotion.nets.known.outputs import Dimension, Dimensions, Labels, Outputs

MODELS = Path(__file__).with_name("models.toml")


def _read_models() -> Iterator[KnownModel]:
    tables: dict[str, dict[str, Any]] = {}
    for table in tomllib.loads(MODELS.read_text(encoding="utf-8"))["model"]:
        tables[table["name"]] = tables.get(table.get("like"), {}) | table
        yield _model(tables[table["name"]])


def _model(table: Mapping[str, Any]) -> KnownModel:
    name = table["name"]
    preprocessing = parse_preprocessing(json.dumps({"version": 1} | table["preprocessing"]), MODELS)
    return KnownModel(
        name=name,
        title=table["title"],
        task=Task(table["task"]),
        parts=tuple(
            Part(part, table.get("definition", f"known/{part}.prototxt"), preprocessing)
            for part in table.get("parts", [name])
        ),
        licence=table["licence"],
        source=table["source"],
        trained_on=table["trained_on"],
        limits=table["limits"],
        outputs=_outputs(table),
        crop=FaceCrop.from_json(table["crop"]) if "crop" in table else None,
        package=_package(**table["package"]) if "package" in table else None,
        verified=table.get("verified", False),
    )


def _outputs(table: Mapping[str, Any]) -> Outputs | None:
    if "labels" in table:
        return Labels(tuple(table["labels"]))
    return Dimensions(tuple(map(Dimension.from_json, table["dimensions"]))) if "dimensions" in table else None


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
