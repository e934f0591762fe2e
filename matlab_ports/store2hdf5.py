"""The authors' ``store2hdf5.m`` (Caffe's ``matlab/hdf5creation``): write samples to an HDF5 file, or append to one.

Arrays keep MATLAB's order of axes here, samples last. HDF5, and so h5py and Caffe, see the axes reversed: ``(i, j, c,
n)`` in MATLAB is ``[n, c, j, i]`` in the file, so **every image is transposed in the file**. Only `to_hdf5_axes`
reverses the axes.

The layout is MATLAB's: superblock version 0, 32-bit little-endian floats, unlimited along the samples, no filters, the
default fill value 0, no attributes (compared with a file that MATLAB wrote). Modification times are left out, so that
the same samples give the same bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import numpy.typing as npt

from caffe_compat_base.hdf5_writer import HDF5Writer, hdf5_writer
from matlab_ports._support.errors import PortError
from matlab_ports._support.files import atomic_path, report_write_errors, require_folder

Array = npt.NDArray[Any]
Size = tuple[int, ...]
Startloc = Mapping[str, Sequence[int]] | None
_log = logging.getLogger(__name__)


def to_hdf5_axes(matlab: Array) -> Array:
    """Reverse the axes, from MATLAB's (i, j, c, n) to the file's [n, c, j, i]; single, rounded to nearest even."""
    return np.ascontiguousarray(matlab.T, dtype="<f4")


def hdf5_file(path: Path, mode: Literal["w", "r+"] = "w") -> AbstractContextManager[HDF5Writer]:
    """Open an HDF5 file for writing in MATLAB's layout; `path` exists, and is empty for "w"."""
    return hdf5_writer(path, mode, libver=("earliest", "v108"))


def _create(file: h5py.File, name: str, dims: Size, chunksz: int) -> None:
    """Call ``h5create(..., [dims Inf], 'Datatype', 'single', 'ChunkSize', [dims chunksz])``."""
    tail = tuple(reversed(dims))
    # no fill value: h5py would store an explicit 0, where MATLAB keeps the default, which is also 0
    file.create_dataset(name, (0, *tail), "<f4", maxshape=(None, *tail), chunks=(chunksz, *tail), track_times=False)


def _write(file: h5py.File, name: str, values: Array, start: Sequence[int]) -> None:
    """Call ``h5write(file, name, single(values), start, size(values))``, `start` 1-based."""
    dataset = file[name]
    if tuple(dataset.shape[1:]) != values.shape[-2::-1] or tuple(start[:-1]) != (1,) * (values.ndim - 1):
        problem = f"samples have shape {values.shape[:-1]} at {tuple(start)}, the file has {dataset.shape[:0:-1]}"
        raise PortError(problem, code="shape-mismatch", file=file.filename, field=f"/{name}")
    first = start[-1] - 1
    last = first + values.shape[-1]
    if dataset.shape[0] < last:
        dataset.resize(last, axis=0)
    stored = to_hdf5_axes(values)
    if stored.shape == dataset.chunks and first % len(stored) == 0:
        # a whole chunk bypasses HDF5's cache; its place in the file is the same
        dataset.id.write_direct_chunk((first, *(0,) * (stored.ndim - 1)), stored)
    else:
        dataset[first:last] = stored


def _require_samples(data: Array, labels: Array, chunksz: int) -> None:
    """Refuse arrays with which the original would fail or write nonsense."""
    for name, values in (("data", data), ("labels", labels)):
        if values.ndim < 2:
            problem = f"has shape {values.shape}, expected at least two axes, samples last"
            raise PortError(problem, code="shape-mismatch", field=name)
    if data.shape[-1] != labels.shape[-1]:
        problem = f"got {labels.shape[-1]} labels for {data.shape[-1]} samples"
        raise PortError(problem, code="wrong-count", field="labels")
    if chunksz < 1:
        raise PortError("must be at least 1", code="out-of-range", field="chunksz", value=chunksz)


def store2hdf5(
    filename: str | Path | HDF5Writer,
    data: npt.ArrayLike,
    labels: npt.ArrayLike,
    create: bool = True,  # noqa: FBT001, FBT002 (the source's order of arguments)
    startloc: Startloc = None,
    chunksz: int = 1000,
) -> tuple[Size, Size]:
    """Store samples in ``/data`` and ``/label``.

    Parameters
    ----------
    filename
        The file, or an open `hdf5_file`, so that many calls need not open it again.
    data, labels
        Samples last, as in MATLAB: data (W, H, C, N), labels (D, N) or (W, H, C, N). Stored as single, axes reversed.
    create
        Create the file, replacing an existing one atomically, or write into the existing file. That happens in place,
        as in MATLAB; an error leaves the file as it was, but only `create` is safe against a killed process.
    startloc
        ``{"dat": (1, 1, 1, k), "lab": (1, k)}``, 1-based; by default the start of a new file, and the end of an
        existing file.
    chunksz
        Samples per chunk, for a new file.

    Returns
    -------
    curr_dat_sz, curr_lab_sz
        Sizes of the datasets after the call, in MATLAB's order of axes.

    Raises
    ------
    PortError
        The numbers of samples and labels differ, samples do not fit the file, or the file cannot be used.
    """
    arrays = np.asarray(data), np.asarray(labels)
    _require_samples(*arrays, chunksz)
    if isinstance(filename, HDF5Writer):
        return filename.do(lambda file: _store(file, *arrays, create, startloc, chunksz))
    path = Path(filename)
    if create:
        require_folder(path)
        if path.exists():
            _log.warning("replacing existing file %s", path)
        with report_write_errors(path), atomic_path(path, 4 * (arrays[0].size + arrays[1].size)) as temporary:
            return _open_and_store(temporary, "w", arrays, startloc, chunksz)
    if not path.is_file() or not h5py.is_hdf5(path):
        if path.exists():
            raise PortError("is not an HDF5 file", code="wrong-format", file=path, hint="create it first")
        raise PortError("no such file", code="file-missing", file=path, hint="create it first")
    with report_write_errors(path):
        return _open_and_store(path, "r+", arrays, startloc, chunksz)


def _open_and_store(
    path: Path, mode: Literal["w", "r+"], arrays: tuple[Array, Array], startloc: Startloc, chunksz: int
) -> tuple[Size, Size]:
    with hdf5_file(path, mode) as writer:
        return writer.do(lambda file: _store(file, *arrays, mode == "w", startloc, chunksz))


def _store(
    file: h5py.File,
    data: Array,
    labels: Array,
    create: bool,  # noqa: FBT001
    startloc: Startloc,
    chunksz: int,
) -> tuple[Size, Size]:
    pairs = {"data": data, "label": labels}
    if create:
        for name, values in pairs.items():
            _create(file, name, values.shape[:-1], chunksz)
    missing = [name for name in pairs if name not in file]
    if missing:
        raise PortError("has no such dataset", code="field-missing", file=file.filename, field=f"/{missing[0]}")
    for (name, values), key in zip(pairs.items(), ("dat", "lab"), strict=True):
        start = (1,) * (values.ndim - 1) + (len(file[name]) + 1,) if startloc is None else startloc[key]
        if values.size:
            _write(file, name, values, start)
    file.flush()  # so that a full disk is reported here
    return tuple(file["data"].shape[::-1]), tuple(file["label"].shape[::-1])
