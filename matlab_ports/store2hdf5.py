"""The authors' ``store2hdf5.m`` (Caffe's ``matlab/hdf5creation``): write samples to an HDF5 file, or append to one.

Arrays keep MATLAB's order of axes here, samples last. HDF5, and so h5py and Caffe, sees the axes reversed: what is
``(i, j, c, n)`` in MATLAB is ``[n, c, j, i]`` there, so **every picture lies transposed in the file**. `to_hdf5_axes`
is the one place where that happens.

The file's form is MATLAB's: superblock version 0, 32-bit little-endian floats, unlimited along the samples, no filters,
the default fill value 0, no attributes (compared with a file MATLAB wrote); but without the modification times that
MATLAB notes, so that the same samples give the same bytes.
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

from matlab_ports._support.errors import PortError
from matlab_ports._support.hdf5_writer import HDF5Writer, hdf5_writer
from matlab_ports._support.writing import atomic_path, clear_disk_errors, require_folder

Array = npt.NDArray[Any]
Size = tuple[int, ...]
Startloc = Mapping[str, Sequence[int]] | None
_log = logging.getLogger(__name__)


def to_hdf5_axes(matlab: Array) -> Array:
    """Reverse the axes, once: MATLAB (i, j, c, n) to the file's [n, c, j, i]; single, rounded to nearest even."""
    return np.ascontiguousarray(matlab.T, dtype="<f4")


def hdf5_file(path: Path, mode: Literal["w", "r+"] = "w") -> AbstractContextManager[HDF5Writer]:
    """An HDF5 file to write, in the form MATLAB writes; `path` is there, empty with "w"."""
    return hdf5_writer(path, mode, libver=("earliest", "v108"))


def _create(file: h5py.File, name: str, dims: Size, chunksz: int) -> None:
    """``h5create(..., [dims Inf], 'Datatype', 'single', 'ChunkSize', [dims chunksz])``."""
    tail = tuple(reversed(dims))
    # h5py tells a fill value of 0 from the default one, which is 0 as well and which MATLAB leaves in place
    file.create_dataset(name, (0, *tail), "<f4", maxshape=(None, *tail), chunks=(chunksz, *tail), track_times=False)


def _write(file: h5py.File, name: str, values: Array, start: Sequence[int]) -> None:
    """``h5write(file, name, single(values), start, size(values))``, `start` 1-based."""
    dataset = file[name]
    if tuple(dataset.shape[1:]) != values.shape[-2::-1] or tuple(start[:-1]) != (1,) * (values.ndim - 1):
        raise PortError(
            f"samples of {values.shape[:-1]} at {tuple(start)} do not fit /{name}, which holds {dataset.shape[:0:-1]}",
            where=file.filename,
        )
    first = start[-1] - 1
    last = first + values.shape[-1]
    if dataset.shape[0] < last:
        dataset.resize(last, axis=0)
    stored = to_hdf5_axes(values)
    if stored.shape == dataset.chunks and first % len(stored) == 0:
        # a whole chunk need not go through HDF5's cache; where it lies in the file is the same
        dataset.id.write_direct_chunk((first, *(0,) * (stored.ndim - 1)), stored)
    else:
        dataset[first:last] = stored


def _checked(data: Array, labels: Array, chunksz: int, where: object) -> tuple[Array, Array]:
    """Both as arrays, refused where the original would stop or write nonsense."""
    data, labels = np.asarray(data), np.asarray(labels)
    if data.ndim < 2 or labels.ndim < 2:
        raise PortError(f"data {data.shape} and labels {labels.shape} need a sample axis, the last", where=where)
    if data.shape[-1] != labels.shape[-1]:
        raise PortError(f"{data.shape[-1]} samples but {labels.shape[-1]} labels", where=where)
    if chunksz < 1:
        raise PortError(f"chunksz {chunksz} is not positive", where=where)
    return data, labels


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
        The file. An open `hdf5_file` may stand for it, so that many calls need not open it again.
    data, labels
        Samples last, as in MATLAB: data W, H, C, N and labels D, N (or W, H, C, N). Stored as single, axes reversed.
    create
        Create the file, replacing one that is there (all or nothing), or write into the existing one. Writing into an
        existing file happens in place, as in MATLAB; an error leaves it as it was, but only `create` is safe against
        being killed.
    startloc
        ``{"dat": (1, 1, 1, k), "lab": (1, k)}``, 1-based; by default the start of a new file, the end of an existing
        one.
    chunksz
        Samples per chunk, for a new file.

    Returns
    -------
    curr_dat_sz, curr_lab_sz
        What the file holds now, in MATLAB's order of axes.

    Raises
    ------
    PortError
        If numbers of samples differ, samples do not fit those in the file, or the file cannot be used.
    """
    where = filename.path if isinstance(filename, HDF5Writer) else filename
    arrays = _checked(np.asarray(data), np.asarray(labels), chunksz, where)
    if isinstance(filename, HDF5Writer):
        return filename.do(lambda file: _store(file, *arrays, create, startloc, chunksz))
    path = Path(filename)
    if create:
        require_folder(path)
        if path.exists():
            _log.warning("replacing existing file %s", path)
        with clear_disk_errors(path), atomic_path(path, 4 * (arrays[0].size + arrays[1].size)) as temporary:
            return _through(temporary, "w", arrays, startloc, chunksz)
    if not path.is_file() or not h5py.is_hdf5(path):
        reason = "not an HDF5 file" if path.exists() else "no such file"
        raise PortError(reason, where=path, hint="create it first")
    with clear_disk_errors(path):
        return _through(path, "r+", arrays, startloc, chunksz)


def _through(
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
        raise PortError(f"has no dataset /{missing[0]}", where=file.filename)
    for (name, values), key in zip(pairs.items(), ("dat", "lab"), strict=True):
        start = (1,) * (values.ndim - 1) + (len(file[name]) + 1,) if startloc is None else startloc[key]
        if values.size:
            _write(file, name, values, start)
    file.flush()  # a full disk shows now
    return tuple(file["data"].shape[::-1]), tuple(file["label"].shape[::-1])
