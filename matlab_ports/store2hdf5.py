"""The authors' ``store2hdf5.m`` (Caffe's ``matlab/hdf5creation``): write samples to an HDF5 file, or append to one.

Arrays keep MATLAB's order of axes here, samples last. HDF5, and so h5py and Caffe, sees the axes reversed: what is
``(i, j, c, n)`` in MATLAB is ``[n, c, j, i]`` there, so **every picture lies transposed in the file**. `to_hdf5_axes`
is the one place where that happens.

The file's form is MATLAB's: superblock version 0, 32-bit little-endian floats, unlimited along the samples, no filters,
the default fill value 0, no attributes, modification times kept (compared with a file MATLAB wrote).
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from matlab_ports.errors import PortError

Array = npt.NDArray[Any]
Size = tuple[int, ...]
_log = logging.getLogger(__name__)


def to_hdf5_axes(matlab: Array) -> Array:
    """Reverse the axes, once: MATLAB (i, j, c, n) to the file's [n, c, j, i]; single, rounded to nearest even."""
    return np.ascontiguousarray(matlab.T, dtype="<f4")


@contextmanager
def atomic_path(path: str | Path, size: int = 0) -> Iterator[Path]:
    """Yield a temporary name beside `path`; on success the file gets its name, on any error nothing remains.

    Room for `size` bytes is asked for first: HDF5 itself notices a full disk late and may crash on it.

    The file is on the disk before it is renamed, so that whatever ends the process leaves either the old file under the
    final name or the new one, complete. A killed process leaves its ``.partial`` file behind, which nothing ever reads.
    """
    final = Path(path)
    temporary = final.with_name(f".{final.name}.{os.getpid()}-{secrets.token_hex(3)}.partial")
    try:
        reserve(temporary, size)
        yield temporary
        sync(temporary)
        temporary.replace(final)
        sync(final.parent)
    finally:
        temporary.unlink(missing_ok=True)


def reserve(path: Path, size: int) -> None:
    """Make an empty file and ask for room; a `PortError` if there is none."""
    with path.open("wb") as file:
        try:
            if size and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise PortError(f"no room for {size / 1e6:.0f} MB ({error.strerror})", where=path.parent) from None


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def create_file(path: str | Path) -> h5py.File:
    """A new, open HDF5 file in the form MATLAB writes."""
    return h5py.File(path, "w", libver=("earliest", "v108"))


def _create(file: h5py.File, name: str, dims: Size, chunksz: int) -> None:
    """``h5create(..., [dims Inf], 'Datatype', 'single', 'ChunkSize', [dims chunksz])``."""
    tail = tuple(reversed(dims))
    # h5py tells a fill value of 0 from the default one, which is 0 as well and which MATLAB leaves in place
    file.create_dataset(name, (0, *tail), "<f4", maxshape=(None, *tail), chunks=(chunksz, *tail), track_times=True)


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
    filename: str | Path | h5py.File,
    data: npt.ArrayLike,
    labels: npt.ArrayLike,
    create: bool = True,  # noqa: FBT001, FBT002 (the source's order of arguments)
    startloc: Mapping[str, Sequence[int]] | None = None,
    chunksz: int = 1000,
) -> tuple[Size, Size]:
    """Store samples in ``/data`` and ``/label``.

    Parameters
    ----------
    filename
        The file. An open `h5py.File` may stand for it, so that many calls need not open it again.
    data, labels
        Samples last, as in MATLAB: data W, H, C, N and labels D, N (or W, H, C, N). Stored as single, axes reversed.
    create
        Create the file, replacing one that is there (all or nothing), or write into the existing one. Writing into an
        existing file happens in place, as in MATLAB: only `create` is safe against being killed.
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
    if isinstance(filename, h5py.File):
        return _store(
            filename,
            *_checked(np.asarray(data), np.asarray(labels), chunksz, filename.filename),
            create,
            startloc,
            chunksz,
        )
    path = Path(filename)
    arrays = _checked(np.asarray(data), np.asarray(labels), chunksz, path)
    if create:
        require_folder(path)
        if path.exists():
            _log.warning("replacing existing file %s", path)
        with atomic_path(path, 4 * (arrays[0].size + arrays[1].size)) as temporary, create_file(temporary) as file:
            return _store(file, *arrays, create, startloc, chunksz)
    try:
        file = h5py.File(path, "r+", libver=("earliest", "v108"))
    except OSError as error:
        reason = "no such file" if not path.exists() else f"not an HDF5 file that can be written ({error})"
        raise PortError(reason, where=path, hint="create it first") from None
    with file:
        return _store(file, *arrays, create, startloc, chunksz)


def _store(
    file: h5py.File,
    data: Array,
    labels: Array,
    create: bool,  # noqa: FBT001
    startloc: Mapping[str, Sequence[int]] | None,
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
    file.flush()  # an error of the disk shows here and not when the file is closed
    return tuple(file["data"].shape[::-1]), tuple(file["label"].shape[::-1])


def require_folder(path: Path) -> None:
    """Refuse a path whose folder does not exist: as in MATLAB, none is made."""
    if not path.parent.is_dir():
        raise PortError("its folder does not exist", where=path, hint=f"make it first: mkdir -p '{path.parent}'")
    if path.is_dir():
        raise PortError("is a folder", where=path, hint="name a file in it")
