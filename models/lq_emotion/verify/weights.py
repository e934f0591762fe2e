"""Files of weights: find them, read them, and look for damage."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from caffe_compat.definition.upgrade import upgrade_net
from caffe_compat.errors import CaffeCompatError, FileError, WeightsError
from caffe_compat.formats.files import is_hdf5, read_binary, read_weights_h5
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.datasets.avec.layout import natural_order
from lq_emotion.verify.archive import Opener, archived
from lq_emotion.verify.settings import BlobDigest

Array = npt.NDArray[Any]
SUFFIXES = (".caffemodel", ".caffemodel.h5")
LARGEST = 1e4
"""Larger weights are damage."""
_HOLE = 256
"""Zeros in a row, 1 KiB, that are a hole in the file."""


class LoadedWeights(NamedTuple):
    """The contents of a file of weights."""

    name: str
    """Path relative to the folder of weights, with ``/``."""
    path: Path
    kind: str
    """``caffemodel`` or ``HDF5``."""
    layers: dict[str, list[Array]]
    """Blobs of every layer with weights, float32 in Caffe's shape and order."""
    message: pb.NetParameter | None
    """The layers' definitions as the file records them, upgraded; None for HDF5, which has none."""


def find_files(folder: Path) -> list[tuple[str, Opener]]:
    """Return name and opener of every .caffemodel and .caffemodel.h5 of a folder or zip archive, at any depth.

    Given a file of weights, return that file.
    """
    if folder.is_file():
        if folder.suffix.lower() == ".zip":
            return sorted(archived(folder, SUFFIXES), key=lambda file: natural_order(file[0]))
        return [(folder.name, partial(_itself, folder))]
    if not folder.is_dir():
        raise FileError("no such folder", code="file-missing", file=folder, hint="the authors' has class/ and recon/")
    paths = [path for path in folder.rglob("*") if path.name.lower().endswith(SUFFIXES) and path.is_file()]
    if not paths:
        others = sorted(path.name for path in folder.rglob("*") if path.is_file())
        hint = f"it has {', '.join(others[:3])}" if others else "it is empty"
        raise FileError(f"has no {' or '.join(SUFFIXES)}", code="empty", file=folder, hint=hint)
    files = [(path.relative_to(folder).as_posix(), partial(_itself, path)) for path in paths]
    return sorted(files, key=lambda file: natural_order(file[0]))


def _itself(path: Path) -> AbstractContextManager[Path]:
    return nullcontext(path)


def load_weights(name: str, path: Path) -> LoadedWeights:
    """Read a file of weights of any age; refuse one that is truncated or has no blobs."""
    blobs: dict[str, Any]
    message = None
    if is_hdf5(path):
        kind, blobs = "HDF5", read_weights_h5(path)
    else:
        kind = "caffemodel"
        stored, store = read_binary(path, pb.NetParameter)
        message = upgrade_net(stored)
        blobs = {layer.name: [store.data(blob) for blob in layer.blobs] for layer in message.layer}
    layers = {}
    for layer, arrays in blobs.items():
        empty = [index for index, array in enumerate(arrays) if array is None]
        if empty:
            field = f"blobs[{empty[0]}]"
            raise WeightsError("has no values", code="damaged-file", file=path, layer=layer, field=field)
        if arrays:
            layers[layer] = [np.ascontiguousarray(array, np.float32) for array in arrays]
    if not layers:
        hint = "a .caffemodel that Caffe saved"
        raise WeightsError("has no layer with weights", code="empty", file=path, hint=hint)
    return LoadedWeights(name, path, kind, layers, message)


def digest(array: Array) -> str:
    """Return the SHA-256 of an array as little-endian float32."""
    return hashlib.sha256(np.ascontiguousarray(array, "<f4").tobytes()).hexdigest()


def blob_digests(weights: LoadedWeights) -> tuple[BlobDigest, ...]:
    """Return shape, hash and extent of every blob."""
    return tuple(
        BlobDigest(
            layer=layer,
            index=index,
            shape=array.shape,
            sha256=digest(array),
            largest=_finite(np.abs(array).max(initial=0)),
            rms=_finite(np.sqrt(np.mean(np.square(array, dtype=np.float64)))) if array.size else 0.0,
        )
        for layer, arrays in weights.layers.items()
        for index, array in enumerate(arrays)
    )


def damages(weights: LoadedWeights) -> Iterator[CaffeCompatError]:
    """Yield what no training produces: values that are not finite or too large, holes, blobs of a single value."""
    for layer, arrays in weights.layers.items():
        for index, array in enumerate(arrays):
            problem = _damage(array, weights=index == 0)
            if problem:
                yield WeightsError(
                    problem, code="damaged-file", file=weights.name, layer=layer, field=f"blobs[{index}]"
                )


def _damage(array: Array, *, weights: bool) -> str | None:
    values = array.ravel()
    bad = np.flatnonzero(~(np.abs(values) <= LARGEST))
    if bad.size:
        at = tuple(int(i) for i in np.unravel_index(int(bad[0]), array.shape))
        return f"{bad.size} of {values.size} values are beyond {LARGEST:g} or not finite, as {values[bad[0]]:g} at {at}"
    if not weights or values.size < 2:
        return None  # biases are often all zero
    if np.all(values == values[0]):
        return f"all {values.size} values are {values[0]:g}"
    hole, start = _longest_zeros(values)
    if hole >= _HOLE:
        return f"{hole} zeros in a row from value {start} on: a hole in the file"
    return None


def _longest_zeros(values: Array) -> tuple[int, int]:
    """Return length and start of the longest run of zeros."""
    edges = np.diff(np.concatenate([[0], (values == 0).astype(np.int8), [0]]))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    if not starts.size:
        return 0, 0
    longest = int(np.argmax(ends - starts))
    return int(ends[longest] - starts[longest]), int(starts[longest])


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
