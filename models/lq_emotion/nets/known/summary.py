"""The facts about a model or a file of weights, for ``lq-emotion models show``."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from caffe_compat.build.preprocess import to_json
from lq_emotion.common.fingerprints import file_sha256
from lq_emotion.nets.known.loading import describe
from lq_emotion.nets.known.model import KnownModel, Part
from lq_emotion.nets.known.recognition import recognise, stored_shapes
from lq_emotion.nets.known.registry import KNOWN, find_model
from lq_emotion.nets.known.store import Store, beside


def summary(name_or_file: str | os.PathLike[str], home: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """Return the facts about a model, or about a file of weights, as JSON values by name."""
    path, store = Path(name_or_file), Store(home)
    if path.is_file():
        return _of_file(path)
    name = os.fspath(name_or_file)
    if name in store.names() and all(model.name != name for model in KNOWN):
        return {"name": name, "installed": str(store.folder(name))} | _described(
            next(iter(store.weights(name).values()))
        )
    model = find_model(name)
    installed = str(store.folder(model.name)) if store.has(model) else None
    return model.to_json() | {"installed": installed, "preprocessing": _preprocessing(model.parts[0])}


def _of_file(path: Path) -> dict[str, Any]:
    recognition = recognise(path)
    shapes = stored_shapes(path)
    count = sum(math.prod(shape) for blobs in shapes.values() for shape in blobs)
    facts = {"file": str(path), "sha256": file_sha256(path), "layers": len(shapes), "values": count}
    if recognition is None:
        return facts | {"recognised": None} | _described(path)
    model: KnownModel = recognition.model
    return facts | {"recognised": list(recognition.same), "part": recognition.part.name} | model.to_json()


def _described(weights: Path) -> dict[str, Any]:
    """Return the contents of the files next to weights; where some are missing, the hint to add them."""
    if not all(beside(weights, suffix).is_file() for suffix in (".prototxt", ".preprocess.json", ".labels.txt")):
        return {"lacks": "a definition, a preprocessing and labels: lq-emotion models add FILE --help"}
    description = describe(weights, None, None)
    assert description.outputs is not None
    return {"outputs": description.outputs.to_json(), "crop": description.crop.to_json()}


def _preprocessing(part: Part) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(to_json(part.preprocessing))
    return {name: value for name, value in fields.items() if name != "version"}
