"""Read and write ``-v7.3`` MAT-files: HDF5 behind 512 bytes, arrays with their axes reversed, classes as attributes.

Numbers, logicals and text, as ``save -v7.3`` lays them out; cells, structs and objects are refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from caffe_compat_base.hdf5_writer import HDF5Writer, hdf5_writer
from matlab_ports._support.errors import Code, PortError
from matlab_ports._support.mat5 import DEFLATE, header

Array = npt.NDArray[Any]

USERBLOCK = 512
_MAGIC = b"\x89HDF\r\n\x1a\n"
_FILTERS = frozenset({h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32})
_CLASS_NAMES = {
    "float64": "double", "float32": "single", "bool": "logical",
    **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip


def is_hdf5(path: Path) -> bool:
    """Whether HDF5 begins behind MATLAB's block, or at the beginning of the file."""
    with path.open("rb") as file:
        first = file.read(USERBLOCK + len(_MAGIC))
    return first.startswith(_MAGIC) or first[USERBLOCK:] == _MAGIC


def class_name(dtype: np.dtype[Any], name: str) -> str:
    """Return MATLAB's name of a numeric type."""
    if dtype.name not in _CLASS_NAMES:
        hint = f"use one of {', '.join(_CLASS_NAMES)}"
        raise PortError(f"MATLAB has no class for the type {dtype}", code="wrong-type", field=name, hint=hint)
    return _CLASS_NAMES[dtype.name]


def create(path: Path) -> AbstractContextManager[HDF5Writer]:
    """Open an empty file for writing; call `finish` after closing it."""
    return hdf5_writer(path, "w", libver=("earliest", "v108"), userblock_size=USERBLOCK)


def finish(path: Path) -> None:
    """Write the block by which MATLAB recognises its files."""
    with path.open("r+b") as file:
        file.write(header("MATLAB 7.3 MAT-file, Platform: matlab_ports, HDF5 schema 1.00 .", 0x0200))


def put_all(file: h5py.File, variables: Mapping[str, Array]) -> None:
    """Store variables."""
    for name, values in variables.items():
        put(file, name, values)


def put(file: h5py.File, name: str, values: Array) -> None:
    """Store one variable."""
    if values.dtype.kind == "U":
        text = "".join(values.ravel().tolist())
        codes = np.frombuffer(text.encode("utf-16-le"), "<u2").reshape(1, -1)
        _dataset(file, name, codes, "char").attrs["MATLAB_int_decode"] = np.int32(2)
    elif values.dtype.kind == "c":
        part = np.dtype(f"f{values.dtype.itemsize // 2}")
        pairs = np.empty(values.shape, [("real", part), ("imag", part)])
        pairs["real"], pairs["imag"] = values.real, values.imag
        _dataset(file, name, pairs, class_name(part, name))
    elif values.dtype == bool:
        _dataset(file, name, values.astype(np.uint8), "logical").attrs["MATLAB_int_decode"] = np.int32(1)
    else:
        _dataset(file, name, values, class_name(values.dtype, name))


def _dataset(file: h5py.File, name: str, values: Array, kind: str) -> h5py.Dataset:
    if values.size:
        dataset = file.create_dataset(name, data=values.T)
    else:  # an empty array's dataset holds its size
        dataset = file.create_dataset(name, data=np.array(values.shape, np.uint64))
        dataset.attrs["MATLAB_empty"] = np.uint8(1)
    dataset.attrs["MATLAB_class"] = np.bytes_(kind)
    return dataset


def variable_names(file: h5py.File) -> list[str]:
    """Return the variables' names; ``#refs#`` and ``#subsystem#`` belong to cells and objects, links do not count."""
    return [name for name in file if not name.startswith("#") and type(file.get(name, getlink=True)) is h5py.HardLink]


def stored_class(item: h5py.Dataset | h5py.Group) -> str:
    """Return the name of MATLAB's class; empty if the file does not state it."""
    kind = item.attrs.get("MATLAB_class", b"")
    return kind.decode() if isinstance(kind, bytes) else str(kind)


def is_array(item: h5py.Dataset | h5py.Group) -> bool:
    """Whether it is of numbers, logicals or text."""
    if not isinstance(item, h5py.Dataset) or stored_class(item) in ("cell", "struct"):
        return False
    parts = [item.dtype[part] for part in item.dtype.names or ()]
    return item.dtype.kind in "fiu" or (item.dtype.names == ("real", "imag") and all(p.kind in "fiu" for p in parts))


def require_dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """Return the dataset of a variable; refused if the file lacks its values, since HDF5 would invent them."""
    item = file[name]
    if not is_array(item):
        problem = f"is a {stored_class(item) or 'group'}, expected an array"
        raise PortError(problem, code="wrong-type", file=file.filename, field=name)
    _require_values(item, name, Path(file.filename))
    return item


def _require_values(dataset: h5py.Dataset, name: str, path: Path) -> None:
    """Refuse a dataset whose values are not all in its file, or cannot be."""

    def error(problem: str, code: Code = "damaged-file") -> PortError:
        return PortError(problem, code=code, file=path, field=name, hint="write the file again with MATLAB's save")

    if dataset.shape is None:
        raise error("has an empty dataspace, no values", "empty")
    if dataset.is_virtual or dataset.external:
        raise error("takes its values from other files", "unsafe")
    properties = dataset.id.get_create_plist()
    filters = [properties.get_filter(index)[0] for index in range(properties.get_nfilters())]
    if len(set(filters)) < len(filters) or set(filters) - _FILTERS:
        raise error("is packed with filters that MATLAB's save does not use", "unsupported")
    size = int(dataset.nbytes)
    if dataset.chunks:
        chunks = math.prod(-(-length // step) for length, step in zip(dataset.shape, dataset.chunks, strict=True))
        written = dataset.id.get_num_chunks()
        if written != chunks:
            raise error(f"has {written} of its {chunks} chunks in the file")
        size = chunks * math.prod(dataset.chunks) * dataset.dtype.itemsize
    stored = min(dataset.id.get_storage_size(), path.stat().st_size)
    if size > stored * (DEFLATE if h5py.h5z.FILTER_DEFLATE in filters else 1):
        raise error(f"declares {size} bytes, which the {stored} in the file cannot hold")


def get(file: h5py.File, name: str) -> Array:
    """Read one variable, axes in MATLAB's order."""
    dataset, kind = require_dataset(file, name), stored_class(file[name])
    values = np.asarray(dataset[()])
    if np.any(dataset.attrs.get("MATLAB_empty", 0)):
        shape = [int(n) for n in values.ravel()]
        if math.prod(shape):
            problem = f"is marked as empty, but its size is {shape}"
            raise PortError(problem, code="damaged-file", file=file.filename, field=name)
        return np.zeros(shape, _dtype_name(kind))
    values = np.atleast_2d(values.T)
    if values.dtype.names:
        values = values["real"] + 1j * values["imag"]
    if kind == "logical":
        return values.astype(bool)
    if kind == "char":
        return np.array([row.astype("<u2").tobytes().decode("utf-16-le") for row in values])
    return values


def _dtype_name(kind: str) -> str:
    return {value: key for key, value in _CLASS_NAMES.items()}.get(kind, "uint16" if kind == "char" else "float64")
