"""Write files completely or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from caffe_compat.errors import FileError
from caffe_compat_base.hdf5_writer import HDF5Writer, hdf5_writer
from caffe_compat_base.input_files import CONFLICT, is_protected
from caffe_compat_base.partial_file import PARTIAL, partial_file

__all__ = ["PARTIAL", "HDF5Writer", "atomic_path", "grown_hdf5", "new_hdf5", "writing"]


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path that takes the place of `path`, complete and on disk, when the block ends without error.

    A link is followed. A device or pipe (``/dev/stdout``) is written directly. A killed process leaves at most a file
    whose name ends in ``.partial``, which the next process that writes into the folder removes.
    """
    final = Path(os.path.realpath(path))
    try:
        mode = final.stat().st_mode
    except OSError:
        mode = stat.S_IFREG | 0o666
    if stat.S_ISDIR(mode):
        raise FileError("is a folder, expected a file", code="wrong-format", file=path)
    require_not_input(final)
    with writing(path):
        if not stat.S_ISREG(mode):
            yield final
            return
        with partial_file(final, stat.S_IMODE(mode)) as partial:
            yield partial


def require_not_input(path: str | os.PathLike[str]) -> None:
    """Refuse to write a file that the command reads."""
    if is_protected(Path(path)):
        raise FileError(CONFLICT, code="conflict", file=path, hint="choose another name")


@contextlib.contextmanager
def new_hdf5(path: str | os.PathLike[str], **form: Any) -> Iterator[HDF5Writer]:
    """Write an HDF5 file, complete or not at all; `form` are keywords of h5py.File."""
    with atomic_path(path) as partial, hdf5_writer(partial, "w", **form) as writer:
        yield writer


@contextlib.contextmanager
def grown_hdf5(path: str | os.PathLike[str]) -> Iterator[HDF5Writer]:
    """Add to an HDF5 file; an error leaves it unchanged."""
    require_not_input(path)
    with writing(path), hdf5_writer(Path(path), "r+") as writer:
        yield writer


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Replace the errors of code that writes a file by one that names it."""
    try:
        yield
    except OSError as error:
        raise FileError(f"cannot be written: {error.strerror or error}", code="file-unwritable", file=path) from error
