"""Files that are whole or not there."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from caffe_compat.errors import FileError
from caffe_compat.formats.hdf5_writer import HDF5Writer, hdf5_writer
from caffe_compat.formats.partial_file import PARTIAL, partial_file

__all__ = ["PARTIAL", "HDF5Writer", "atomic_path", "grown_hdf5", "new_hdf5"]


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path that takes the place of `path`, complete and on disk, when the block ends without error.

    A link is followed. What is neither a file nor absent (``/dev/stdout``) is written directly. A killed process leaves
    at most a file whose name ends in ``.partial``, which the next process that writes into the folder removes.

    Raises
    ------
    FileError
        If the folder does not exist or cannot be written, or the disk is full.
    """
    final = Path(os.path.realpath(path))
    try:
        mode = final.stat().st_mode
    except OSError:
        mode = stat.S_IFREG | 0o666
    if stat.S_ISDIR(mode):
        raise FileError("this is a folder; a file is to be written", file=os.fspath(path))
    with _told(path):
        if not stat.S_ISREG(mode):
            yield final
            return
        with partial_file(final, stat.S_IMODE(mode)) as partial:
            yield partial


@contextlib.contextmanager
def new_hdf5(path: str | os.PathLike[str], **form: Any) -> Iterator[HDF5Writer]:
    """Make an HDF5 file, complete or not at all.

    Parameters
    ----------
    form : of h5py.File.

    Raises
    ------
    FileError
        It cannot be written: no folder, no permission, a full disk, a limit on its size.
    """
    with atomic_path(path) as partial, hdf5_writer(partial, "w", **form) as writer:
        yield writer


@contextlib.contextmanager
def grown_hdf5(path: str | os.PathLike[str]) -> Iterator[HDF5Writer]:
    """Add to an HDF5 file; after an error it is what it was.

    Raises
    ------
    FileError
        It is no HDF5 file, or cannot be written.
    """
    with _told(path), hdf5_writer(Path(path), "r+") as writer:
        yield writer


@contextlib.contextmanager
def _told(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileError(f"cannot be written: {error.strerror or error}", file=os.fspath(path)) from error
