"""``load`` and ``save`` for MAT-files of versions 5, 6, 7 and 7.3, and videos in them frame by frame.

Arrays keep MATLAB's shapes: two dimensions at least, axes in MATLAB's order whatever the file's version.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from matlab_ports._support import mat5, mat73
from matlab_ports._support.errors import PortError
from matlab_ports._support.frames_reader import Frames, hdf5, missing, open_frames, require_matfile
from matlab_ports._support.frames_writer import FramesWriter, encoded, require_version
from matlab_ports._support.writing import atomic_path, clear_disk_errors, require_folder

__all__ = ["Frames", "FramesWriter", "loadmat", "open_frames", "savemat", "variable_names"]

Array = npt.NDArray[Any]
_NAME = re.compile(r"[A-Za-z]\w{0,62}", re.ASCII)


def loadmat(path: str | Path, names: Sequence[str] | None = None) -> dict[str, Array]:
    """Read variables as ``load(path, names{:})`` does.

    Parameters
    ----------
    path
        The file; no extension is added.
    names
        Which variables; by default all arrays. Cells, structs and the like are left out, and refused if asked for.

    Returns
    -------
    dict
        Arrays of MATLAB's shape and class (a double is float64 however the file stores it), in the order of `names`;
        text as one string per row.

    Raises
    ------
    PortError
        If there is no such file, it is no MAT-file, is cut off or damaged, or lacks a variable; the last names those
        it has.
    """
    path = Path(path)
    require_matfile(path)
    if mat73.is_hdf5(path):
        with hdf5(path) as file:
            there = mat73.names_of(file)
            wanted = [name for name in there if mat73.is_array(file[name])] if names is None else names
            return {name: mat73.get(file, name) for name in _wanted(path, wanted, there)}
    variables = {variable.name: variable for variable in mat5.variables(path) if variable.name}
    if names is None:
        return {name: mat5.read(path, one) for name, one in variables.items() if one.dtype or one.kind == "char"}
    return {name: mat5.read(path, variables[name]) for name in _wanted(path, names, list(variables))}


def variable_names(path: str | Path) -> list[str]:
    """Return the names of a MAT-file's variables without reading their values.

    Raises
    ------
    PortError
        The file is not a MAT-file, or is damaged.
    """
    path = Path(path)
    require_matfile(path)
    if mat73.is_hdf5(path):
        with hdf5(path) as file:
            return mat73.names_of(file)
    return [variable.name for variable in mat5.variables(path) if variable.name]


def _wanted(path: Path, names: Sequence[str], there: Sequence[str]) -> Sequence[str]:
    lacking = [name for name in names if name not in there]
    if lacking:
        raise missing(path, lacking, there)
    return names


def _at_least_2d(values: Array) -> Array:
    return values if values.dtype.kind == "U" else np.atleast_2d(values)


def savemat(path: str | Path, variables: Mapping[str, npt.ArrayLike], version: str = "-v7") -> None:
    """Write variables as ``save(path, names{:}, version)`` does.

    Parameters
    ----------
    path
        The file, in a folder that exists. It appears complete or not at all.
    variables
        Arrays by name. One-dimensional ones become 1 x N, numbers 1 x 1.
    version
        ``-v6`` (plain), ``-v7`` (deflated), ``-v7.3`` (HDF5). The same variables give the same bytes.

    Raises
    ------
    PortError
        For a name, type or size the version cannot hold, or a file that cannot be written.
    """
    path = Path(path)
    require_version(version)
    require_folder(path)
    arrays = {name: _at_least_2d(np.asarray(values)) for name, values in variables.items()}
    for name, values in arrays.items():
        if not _NAME.fullmatch(name):
            raise PortError(f"{name!r} is not a variable's name in MATLAB", where=path)
        if values.dtype.kind in "fiub":
            mat73.class_of(values.dtype, name)
        elif values.dtype.kind not in ("UcO" if version != "-v7.3" else "Uc"):
            raise PortError(f"{name} has the type {values.dtype}, which {version} here does not hold", where=path)
    if version == "-v7.3":
        size = sum(values.nbytes for values in arrays.values())
        with clear_disk_errors(path), atomic_path(path, size) as temporary:
            with mat73.create(temporary) as writer:
                writer.do(partial(mat73.put_all, variables=arrays))
            mat73.finish(temporary)
        return
    data = encoded(arrays, compress=version == "-v7")
    with clear_disk_errors(path), atomic_path(path, len(data)) as temporary:
        temporary.write_bytes(data)
