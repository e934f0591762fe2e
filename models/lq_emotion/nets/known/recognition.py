"""Recognise the model of a file of weights by the names of its layers and the shapes of their blobs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from caffe_compat.build.weights import fits
from caffe_compat.definition.prepare import prepare
from caffe_compat.definition.upgrade import upgrade_net
from caffe_compat.errors import WeightsError
from caffe_compat.formats.blobs import blob_shape
from caffe_compat.formats.files import is_hdf5, read_binary, read_weights_h5
from caffe_compat.graph.graph import build_graph
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.nets.known.model import KNOWN, KnownModel, Part
from lq_emotion.nets.names import method_in

PathLike = str | os.PathLike[str]
Shape = tuple[int, ...]
Shapes = Mapping[str, tuple[Shape, ...]]

_EXTRA_LAYERS = 1
"""Layers that a file may have in addition: MTCNN's det2 was trained with landmarks, and its definition has none."""


class Recognition(NamedTuple):
    """The model of a file of weights, and the net whose layers and blobs the file has; the first of several."""

    model: KnownModel
    part: Part
    same: tuple[str, ...]
    """Names of all models whose nets have these layers and blobs, `model`'s first: weights trained again on other data
    look the same."""


def stored_shapes(path: PathLike) -> dict[str, tuple[Shape, ...]]:
    """Return the shapes of every layer's blobs in a .caffemodel or .caffemodel.h5; layers without blobs are left out.

    A file without weights is refused.
    """
    if is_hdf5(path):
        stored = {
            name: tuple(a.shape for a in arrays if a is not None) for name, arrays in read_weights_h5(path).items()
        }
    else:
        message = upgrade_net(read_binary(path, pb.NetParameter)[0])
        stored = {layer.name: tuple(blob_shape(blob) for blob in layer.blobs) for layer in message.layer}
    stored = {name: shapes for name, shapes in stored.items() if shapes}
    if not stored:
        hint = "pass a .caffemodel that Caffe saved"
        raise WeightsError("has no layer with weights", code="empty", file=path, hint=hint)
    return stored


def recognise(path: PathLike) -> Recognition | None:
    """Return the known model that a file of weights is for; None for any other net.

    Of several models with one definition, that whose name the file's name has comes first. Errors are as in
    `stored_shapes`.
    """
    stored = stored_shapes(path)
    matches = [(model, part) for model in KNOWN for part in model.parts if _matches(stored, known_shapes(part))]
    if not matches:
        return None
    most = max(len(known_shapes(part)) for _, part in matches)
    matches = [(model, part) for model, part in matches if len(known_shapes(part)) == most]
    words = Path(path).stem.lower().replace("_", "-")
    method = method_in(Path(path).stem)
    matches.sort(key=lambda match: match[0].name.lower() != words and match[0].name != method)
    return Recognition(*matches[0], tuple(dict.fromkeys(model.name for model, _ in matches)))


@cache
def known_shapes(part: Part) -> Shapes:
    """Return the shapes of every layer's blobs, in Caffe's order, for a known model's net."""
    nodes = build_graph(prepare(part.definition())).nodes
    return {node.name: tuple(tuple(slot.blob.shape) for slot in node.slots) for node in nodes if node.slots}


def _matches(stored: Shapes, expected: Shapes) -> bool:
    extra = len(stored.keys() - expected.keys())
    return extra <= _EXTRA_LAYERS and all(
        layer in stored and len(stored[layer]) == len(shapes) and all(map(fits, stored[layer], shapes))
        for layer, shapes in expected.items()
    )
