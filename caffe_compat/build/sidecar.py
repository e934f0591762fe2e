"""Preprocessing kept in a file beside the weights: ``NAME.preprocess.json``.

A caffemodel does not say how pictures were prepared, so that it gets lost; here it is one small file that
:func:`caffe_compat.load_net` finds by itself.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from caffe_compat.build.preprocess import Preprocessing
from caffe_compat.errors import DataError, FileError
from caffe_compat.formats.files import atomic_path

PathLike = str | os.PathLike[str]
SUFFIX = ".preprocess.json"
_VERSION = 1
_LARGEST = 1 << 28  # bytes of a file that is read
_KNOWN = {"version", "input", "channels", "resize", "crop", "raw_scale", "mean", "scale"}


def to_json(kept: Preprocessing) -> str:
    """Return the text of a sidecar file; values come back bit for bit."""
    mean: Any = None
    if kept.mean is not None and kept.mean.ndim == 1:
        mean = [float(value) for value in kept.mean]
    elif kept.mean is not None:
        content = base64.b64encode(kept.mean.astype("<f4").tobytes()).decode()
        mean = {"shape": list(kept.mean.shape), "float32": content}
    fields = {
        "version": _VERSION,
        "input": kept.input,
        "channels": kept.channels,
        "resize": kept.resize,
        "crop": kept.crop,
        "raw_scale": kept.raw_scale,
        "mean": mean,
        "scale": kept.scale,
    }
    return json.dumps({name: value for name, value in fields.items() if value is not None}, indent=1) + "\n"


def save_preprocessing(kept: Preprocessing, weights: PathLike) -> Path:
    """Write the file that belongs to a file of weights, complete or not at all; return its path."""
    path = sidecar_path(weights)
    with atomic_path(path) as partial:
        partial.write_text(to_json(kept), encoding="utf-8")
    return path


def sidecar_path(weights: PathLike) -> Path:
    """Return where the preprocessing of a file of weights lies: ``a/HQ.caffemodel`` -> ``a/HQ.preprocess.json``."""
    path = Path(weights)
    name = path.name.removesuffix(".h5")
    stem = name.removesuffix(Path(name).suffix) if Path(name).suffix else name
    return path.with_name(stem + SUFFIX)


def load_preprocessing(weights: PathLike) -> Preprocessing | None:
    """Return what lies beside a file of weights, or None.

    Raises
    ------
    FileError
        The sidecar file is there and cannot be used.
    """
    path = sidecar_path(weights)
    return read_preprocessing(path) if path.is_file() else None


def read_preprocessing(path: PathLike) -> Preprocessing:
    """Return what a sidecar file says.

    Raises
    ------
    FileError
        It cannot be read, is no such file, or says what cannot be.
    """
    file = Path(path)
    try:
        if file.stat().st_size > _LARGEST:
            raise FileError(f"is larger than {_LARGEST} bytes", file=file)
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"cannot be read: {error.strerror or error}", file=file) from None
    except (ValueError, RecursionError) as error:
        raise FileError(f"is no JSON: {error}", file=file) from None
    if not isinstance(found, dict) or found.get("version") != _VERSION:
        raise FileError("does not say how pictures are prepared", file=file, hint=f'"version": {_VERSION}')
    strange = sorted(found.keys() - _KNOWN)
    if strange:
        raise FileError("no such field", file=file, field=strange[0], hint=f"known: {', '.join(sorted(_KNOWN))}")
    try:
        return _from_fields(found)
    except DataError as error:
        raise FileError(error.problem, file=file, field=error.field, value=error.value, hint=error.hint) from None


def _from_fields(found: Mapping[str, Any]) -> Preprocessing:
    return Preprocessing(
        channels=_text(found, "channels", "BGR"),
        resize=_extents(found, "resize"),
        crop=_extents(found, "crop"),
        raw_scale=_number(found, "raw_scale"),
        mean=_mean(found.get("mean")),
        scale=_number(found, "scale"),
        input=_text(found, "input", "data"),
    )


def _text(found: Mapping[str, Any], name: str, default: str) -> str:
    value = found.get(name, default)
    if not isinstance(value, str):
        raise DataError("must be a text", field=name, value=value)
    return value


def _number(found: Mapping[str, Any], name: str) -> float:
    value = found.get(name, 1.0)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError("must be a number", field=name, value=value)
    return float(value)


def _extents(found: Mapping[str, Any], name: str) -> tuple[int, int] | None:
    value = found.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2 or not all(type(extent) is int for extent in value):
        raise DataError("must be a height and a width", field=name, value=value)
    return value[0], value[1]


def _mean(value: Any) -> npt.NDArray[np.float32] | None:
    if value is None:
        return None
    try:
        if isinstance(value, list):
            return np.array(value, np.float32)
        content = np.frombuffer(base64.b64decode(value["float32"], validate=True), "<f4")
        return content.reshape([int(extent) for extent in value["shape"]]).astype(np.float32)
    except (TypeError, KeyError, ValueError, OverflowError, binascii.Error):
        raise DataError("must be a list of values, or a shape and its float32 values", field="mean") from None
