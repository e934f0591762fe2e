"""Read and write the contents of Caffe's HDF5 snapshots; `caffe_compat.formats.files` opens the files.

Weights: groups ``data/<layer>`` (and ``diff/<layer>``) with datasets ``0``, ``1``, ... (none without blobs).
Solver state: ``iter`` and ``current_step`` (one int each), ``learned_net`` (null-terminated), ``history/0``, ...
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import h5py
import numpy as np
import numpy.typing as npt

from caffe_compat.errors import FileError
from caffe_compat.formats.hdf5_reader import member, missing_values

Array: TypeAlias = npt.NDArray[Any]
Blobs: TypeAlias = Mapping[str, Sequence[Array | None]]
_AXES = 32  # Caffe's kMaxBlobAxes


def read_weights(file: h5py.File, name: str) -> dict[str, list[Array | None]]:
    """Return the blobs of every layer; None for a blob that another layer owns."""
    data = _require_group(file, "data", name)
    return {layer: _read_blobs(_require_group(data, layer, name), name, gaps=True) for layer in data}


def read_state(file: h5py.File, name: str) -> tuple[int, str, int, list[Array]]:
    """Return iteration, path of the weights, step and history."""
    history = _read_blobs(_require_group(file, "history", name), name, gaps=False)
    learned = ""
    if "learned_net" in file:
        item, value = member(file, "learned_net", name), None
        if isinstance(item, h5py.Dataset) and not missing_values(item) and item.size == 1:
            value = item[()]
        if not isinstance(value, bytes | str):
            raise FileError("expected a string", code="wrong-type", file=name, field="learned_net")
        learned = value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")
    iteration, step = (_read_int(file, key, name) for key in ("iter", "current_step"))
    return iteration, learned, step, [array for array in history if array is not None]


def require_names(layers: Iterable[str], name: str) -> None:
    """Refuse layer names that HDF5 cannot store."""
    for layer in layers:
        if "/" in layer or layer in ("", ".") or "\0" in layer:
            problem, hint = "the name cannot be stored in HDF5, by Caffe neither", "use snapshot_format: BINARYPROTO"
            raise FileError(problem, code="unsupported", file=name, layer=layer, hint=hint)


def write_weights(file: h5py.File, data: Blobs, diffs: Blobs | None) -> None:
    """Write the groups of a weights file."""
    for group, blobs in (("data", data), ("diff", diffs)):
        if blobs is None:
            continue
        root = file.create_group(group)
        for layer, arrays in blobs.items():
            folder = root.create_group(layer)
            for index, array in enumerate(arrays):
                if array is not None:
                    _write(folder, str(index), array)


def write_state(file: h5py.File, iteration: int, learned_net: str, step: int, history: Sequence[Array]) -> None:
    """Write the contents of a solver-state file."""
    file.create_dataset("iter", data=np.array([iteration], np.int32))
    text = learned_net.encode("utf-8", "surrogateescape") + b"\0"
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(len(text))
    dataset = h5py.h5d.create(file.id, b"learned_net", kind, h5py.h5s.create(h5py.h5s.SCALAR))
    dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array(text), mtype=kind)
    file.create_dataset("current_step", data=np.array([step], np.int32))
    folder = file.create_group("history")
    for index, array in enumerate(history):
        _write(folder, str(index), array)


def _write(folder: h5py.Group, key: str, array: Array) -> None:
    values = np.asarray(array)
    kind = np.float64 if values.dtype == np.float64 else np.float32
    folder.create_dataset(key, data=np.asarray(values, kind, order="C"))


def _require_group(parent: h5py.Group, key: str, name: str) -> h5py.Group:
    item = member(parent, key, name)
    if not isinstance(item, h5py.Group):
        field, hint = f"{parent.name.rstrip('/')}/{key}", "check that this is a snapshot of Caffe"
        if item is None:
            raise FileError("no such group", code="field-missing", file=name, field=field, hint=hint)
        raise FileError("expected a group", code="wrong-type", file=name, field=field, hint=hint)
    return item


def _read_blobs(group: h5py.Group, name: str, *, gaps: bool) -> list[Array | None]:
    arrays: dict[int, Array] = {}
    for key in group:
        if not (key.isascii() and key.isdecimal() and str(int(key)) == key and int(key) < 1 << 16):
            problem = "expected blobs named by their numbers"
            raise FileError(problem, code="name-unknown", file=name, field=f"{group.name}/{key}")
        arrays[int(key)] = _read_array(group, key, name)
    count = max(arrays, default=-1) + 1
    if not gaps and len(arrays) != count:
        problem = f"got {len(arrays)} blobs, expected {count} for numbers up to {count - 1}"
        raise FileError(problem, code="wrong-count", file=name, field=group.name)
    return [arrays.get(index) for index in range(count)]


def _read_array(group: h5py.Group, key: str, name: str) -> Array:
    field = f"{group.name}/{key}"
    dataset = member(group, key, name)
    if not isinstance(dataset, h5py.Dataset):
        raise FileError("expected a dataset", code="wrong-type", file=name, field=field)
    if dataset.dtype.kind not in "fiu" or dataset.shape is None or dataset.ndim > _AXES:
        problem = f"has type {dataset.dtype} and shape {dataset.shape}, expected numbers"
        raise FileError(problem, code="wrong-type", file=name, field=field)
    problem = missing_values(dataset)
    if problem:
        raise FileError(problem, code="damaged-file", file=name, field=field)
    return np.asarray(dataset[()], np.float64 if dataset.dtype == np.float64 else np.float32).reshape(dataset.shape)


def _read_int(file: h5py.File, key: str, name: str) -> int:
    dataset = member(file, key, name)
    if (
        not isinstance(dataset, h5py.Dataset)
        or dataset.size != 1
        or dataset.dtype.kind not in "iu"
        or missing_values(dataset)
    ):
        if dataset is None:
            raise FileError("is missing", code="field-missing", file=name, field=key)
        raise FileError("expected one integer", code="wrong-type", file=name, field=key)
    return int(dataset[()].reshape(-1)[0])
