"""MATLAB's ``load`` and ``save``: read and write MAT-files of versions 5, 6, 7 and 7.3, videos frame by frame.

Arrays keep MATLAB's shapes: at least two dimensions, axes in MATLAB's order in every version.
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
from matlab_ports._support.files import atomic_path, report_write_errors, require_folder
from matlab_ports._support.frames_reader import Frames, open_frames, open_hdf5, require_matfile, unknown_variables
from matlab_ports._support.frames_writer import FramesWriter, encode, require_version

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
        The variables; by default all arrays. Cells, structs and objects are left out, and refused if named.

    Returns
    -------
    dict
        Arrays of MATLAB's shape and class (a double is float64 however the file stores it), in the order of `names`;
        text as one string per row.

    Raises
    ------
    PortError
        The file is missing, is not a MAT-file, is damaged, or lacks a variable.
    """
    path = Path(path)
    require_matfile(path)
    if mat73.is_hdf5(path):
        with open_hdf5(path) as file:
            available = mat73.variable_names(file)
            if names is None:
                names = [name for name in available if mat73.is_array(file[name])]
            _require_variables(path, names, available)
            return {name: mat73.get(file, name) for name in names}
    variables = {variable.name: variable for variable in mat5.variables(path) if variable.name}
    if names is None:
        return {
            name: mat5.read(path, variable)
            for name, variable in variables.items()
            if variable.dtype or variable.kind == "char"
        }
    _require_variables(path, names, list(variables))
    return {name: mat5.read(path, variables[name]) for name in names}


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
        with open_hdf5(path) as file:
            return mat73.variable_names(file)
    return [variable.name for variable in mat5.variables(path) if variable.name]


def _require_variables(path: Path, names: Sequence[str], available: Sequence[str]) -> None:
    missing = [name for name in names if name not in available]
    if missing:
        raise unknown_variables(path, missing, available)


def savemat(path: str | Path, variables: Mapping[str, npt.ArrayLike], version: str = "-v7") -> None:
    """Write variables as ``save(path, names{:}, version)`` does.

    Parameters
    ----------
    path
        The file, in a folder that exists. It appears complete or not at all.
    variables
        Arrays by name. One-dimensional arrays become 1 x N, numbers 1 x 1.
    version
        ``-v6`` (plain), ``-v7`` (deflated), ``-v7.3`` (HDF5). The same variables give the same bytes.

    Raises
    ------
    PortError
        The version cannot hold a name, type or size, or the file cannot be written.
    """
    path = Path(path)
    require_version(version)
    require_folder(path)
    given = {name: np.asarray(values) for name, values in variables.items()}
    arrays = {name: one if one.dtype.kind == "U" else np.atleast_2d(one) for name, one in given.items()}
    for name, values in arrays.items():
        if not _NAME.fullmatch(name):
            problem = "is not a valid name of a MATLAB variable"
            raise PortError(problem, code="syntax", file=path, value=name)
        if values.dtype.kind in "fiub":
            mat73.class_name(values.dtype, name)
        elif values.dtype.kind not in ("UcO" if version != "-v7.3" else "Uc"):
            problem = f"the type {values.dtype} cannot be saved in version {version}"
            raise PortError(problem, code="wrong-type", file=path, field=name)
    if version == "-v7.3":
        size = sum(values.nbytes for values in arrays.values())
        with report_write_errors(path), atomic_path(path, size) as temporary:
            with mat73.create(temporary) as writer:
                writer.do(partial(mat73.put_all, variables=arrays))
            mat73.finish(temporary)
        return
    data = encode(arrays, compress=version == "-v7")
    with report_write_errors(path), atomic_path(path, len(data)) as temporary:
        temporary.write_bytes(data)
