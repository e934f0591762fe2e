"""Read untrusted HDF5 files: only values in the file itself.

HDF5 reads values that were never written as zeros, and follows links, virtual datasets and external storage to any file
of the machine. So a small file can declare any number of values, or include other files.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from caffe_compat.errors import FileError
from caffe_compat.formats.regular_file import require_regular

_COMPRESSION = 1032  # the largest ratio that deflate can reach
_COPY = "h5repack copies values from other files into one"


@contextlib.contextmanager
def open_hdf5(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Open a file for reading; refuse devices and named pipes."""
    require_regular(path)
    with h5py.File(path, "r") as file:
        yield file


def find(root: h5py.Group, path: str, file: str | os.PathLike[str]) -> Any:
    """Return the item under a path, resolved part by part with `member`, or None."""
    item: Any = root
    for part in filter(None, path.split("/")):
        item = member(item, part, file) if isinstance(item, h5py.Group) else None
    return item


def find_linked(file: h5py.File, name: str, path: Path, stack: contextlib.ExitStack) -> Any:
    """Return the item that `find` returns, or the target of a link to a file next to `path`, as `lq-emotion` writes it.

    `stack` closes the linked file.
    """
    link = file.get(name, getlink=True) if "/" not in name else None
    if isinstance(link, h5py.ExternalLink):
        folder = path.resolve().parent
        target = (folder / link.filename).resolve()
        if target.is_relative_to(folder) and target.is_file():
            return find(stack.enter_context(open_hdf5(target)), link.path, target)
    return find(file, name, path)


def member(parent: h5py.Group, name: str, file: str | os.PathLike[str]) -> Any:
    """Return a group's member of this name (one part of a path), or None; errors name `file`.

    A link to another file, or to a link, is refused.
    """
    link = parent.get(name, getlink=True)
    if not isinstance(link, h5py.SoftLink):
        return _hard(parent, name, file)
    item: Any = parent.file if link.path.startswith("/") else parent
    for part in link.path.split("/"):
        if part not in ("", "."):
            item = _hard(item, part, file) if isinstance(item, h5py.Group) else None
    return item


def _hard(parent: h5py.Group, name: str, file: str | os.PathLike[str]) -> Any:
    link = parent.get(name, getlink=True)
    if link is None:
        return None
    if not isinstance(link, h5py.HardLink):
        target = f"into the file {link.filename}" if isinstance(link, h5py.ExternalLink) else "to another link"
        field = f"{str(parent.name).rstrip('/')}/{name}"
        raise FileError(f"is a link {target}, which is not followed", code="unsafe", file=file, field=field, hint=_COPY)
    return parent.get(name)


def missing_values(dataset: h5py.Dataset) -> str:
    """Return why a file lacks values that a dataset declares; empty if it has all of them."""
    layout = dataset.id.get_create_plist()
    if layout.get_layout() == h5py.h5d.VIRTUAL or layout.get_external_count():
        return f"its values are in other files ({_COPY})"
    size = dataset.id.get_storage_size()
    if dataset.nbytes > _COMPRESSION * max(size, 1) + 4096:
        return f"shape {dataset.shape} needs {dataset.nbytes} bytes, the file has {size}"
    if dataset.chunks:
        chunks = math.prod(-(-length // step) for length, step in zip(dataset.shape, dataset.chunks, strict=True))
        count = dataset.id.get_num_chunks()
        return f"{count} of its {chunks} chunks were written" if count < chunks else ""
    return "none of its values were written" if dataset.nbytes and not size else ""
