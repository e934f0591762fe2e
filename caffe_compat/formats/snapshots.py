"""The HDF5 forms of Caffe's snapshots, in files opened by :mod:`caffe_compat.formats.files`.

Weights: groups ``data/<layer>`` (and ``diff/<layer>``) with datasets ``0``, ``1``, ...; an empty group without blobs.
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
    """Return the blobs of every layer; None where another layer owns one."""
    data = _group(file, "data", name)
    return {layer: _numbered(_group(data, layer, name), name, gaps=True) for layer in data}


def read_state(file: h5py.File, name: str) -> tuple[int, str, int, list[Array]]:
    """Return iteration, path of the weights, step and history."""
    history = _numbered(_group(file, "history", name), name, gaps=False)
    learned = ""
    if "learned_net" in file:
        found = member(file, "learned_net", name)
        value = found[()] if isinstance(found, h5py.Dataset) and not missing_values(found) and found.size == 1 else None
        if not isinstance(value, bytes | str):
            raise FileError("not a string", file=name, field="learned_net")
        learned = value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")
    return _int(file, "iter", name), learned, _int(file, "current_step", name), [a for a in history if a is not None]


def check_names(layers: Iterable[str], name: str) -> None:
    """Refuse layer names that are no HDF5 names."""
    for layer in layers:
        if "/" in layer or layer in ("", ".") or "\0" in layer:
            problem = "HDF5 cannot hold a layer of this name, nor can Caffe write it"
            raise FileError(problem, file=name, layer=layer, hint="snapshot_format BINARYPROTO holds any name")


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
    """Write what a solver-state file holds."""
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


def _group(parent: h5py.Group, key: str, name: str) -> h5py.Group:
    found = member(parent, key, name)
    if not isinstance(found, h5py.Group):
        problem = "no such group" if found is None else "not a group"
        raise FileError(problem, file=name, field=f"{parent.name.rstrip('/')}/{key}", hint="Caffe's snapshots have it")
    return found


def _numbered(group: h5py.Group, name: str, *, gaps: bool) -> list[Array | None]:
    arrays: dict[int, Array] = {}
    for key in group:
        if not (key.isascii() and key.isdecimal() and str(int(key)) == key and int(key) < 1 << 16):
            raise FileError("a blob's name is its number", file=name, field=f"{group.name}/{key}")
        arrays[int(key)] = _array(group, key, name)
    count = max(arrays, default=-1) + 1
    if not gaps and len(arrays) != count:
        raise FileError(f"{len(arrays)} blobs, numbered up to {count - 1}", file=name, field=group.name)
    return [arrays.get(index) for index in range(count)]


def _array(group: h5py.Group, key: str, name: str) -> Array:
    field = f"{group.name}/{key}"
    dataset = member(group, key, name)
    if not isinstance(dataset, h5py.Dataset):
        raise FileError("not a dataset", file=name, field=field)
    if dataset.dtype.kind not in "fiu" or dataset.shape is None or dataset.ndim > _AXES:
        raise FileError(
            f"a blob of type {dataset.dtype}, shape {dataset.shape}; numbers are expected", file=name, field=field
        )
    problem = missing_values(dataset)
    if problem:
        raise FileError(problem, file=name, field=field)
    return np.asarray(dataset[()], np.float64 if dataset.dtype == np.float64 else np.float32).reshape(dataset.shape)


def _int(file: h5py.File, key: str, name: str) -> int:
    dataset = member(file, key, name)
    if (
        not isinstance(dataset, h5py.Dataset)
        or dataset.size != 1
        or dataset.dtype.kind not in "iu"
        or missing_values(dataset)
    ):
        raise FileError("missing" if dataset is None else "not one integer", file=name, field=key)
    return int(dataset[()].reshape(-1)[0])
