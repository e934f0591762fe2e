"""Hand nets to other programs, as ONNX models, programs of torch, source code or values: :func:`export`."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable

from caffe_compat.build.net import CaffeNet
from caffe_compat.errors import CaffeCompatError

_WRITERS = {
    "onnx": ("caffe_compat.export.onnx", "to_onnx"),
    "pt2": ("caffe_compat.export.program", "to_pt2"),
    "python": ("caffe_compat.export.source", "to_python"),
    "safetensors": ("caffe_compat.export.tensors", "to_safetensors"),
}

FORMATS = tuple(_WRITERS)
"""Names of the formats."""


def export(net: CaffeNet, file: str | os.PathLike[str], to: str, *, with_preprocessing: bool = False) -> None:
    """Write a net for other programs, complete or not at all.

    Parameters
    ----------
    net : built for TEST; `net.meta["preprocessing"]` and `net.meta["labels"]` (the names of its classes or dimensions)
        go along, where it has them.
    file : file to write.
    to : one of :data:`FORMATS`.
    with_preprocessing : let the model begin with the preprocessing, so that it takes images (docs/export.md).

    Raises
    ------
    CaffeCompatError
        No format has that name, a layer cannot be expressed in the format (one error lists all of them), the net has
        no preprocessing, or no output has as many channels as there are labels.
    """
    if to not in FORMATS:
        hint = f"use one of {', '.join(FORMATS)}"
        raise CaffeCompatError("unknown format", code="name-unknown", field="to", value=to, hint=hint)
    module, name = _WRITERS[to]
    write: Callable[..., None] = getattr(importlib.import_module(module), name)
    write(net, file, with_preprocessing=with_preprocessing)
