"""Check files before they are opened, write them whole or not at all, and report what the system refuses."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from caffe_compat_base.input_files import CONFLICT, is_protected
from caffe_compat_base.partial_file import partial_file
from matlab_ports._support.errors import PortError


@contextmanager
def atomic_path(path: str | Path, size: int = 0) -> Iterator[Path]:
    """Yield a temporary name next to `path`; on success the file gets its name, on any error nothing remains.

    Space for `size` bytes is reserved first, so that a disk that is too small is noticed before the work is done.

    The file is on the disk before it is renamed. Whatever ends the process leaves either the old file under the final
    name or the new one, complete. A killed process leaves its ``.partial`` file behind, which the next process that
    writes into the folder removes.
    """
    final = Path(path)
    require_not_input(final)
    with partial_file(final) as temporary:
        reserve_space(temporary, size)
        yield temporary


def require_not_input(path: Path) -> None:
    """Refuse to write a file that the script reads, by whatever name or link."""
    if is_protected(path):
        raise PortError(CONFLICT, code="conflict", file=path, hint="choose another name")


def reserve_space(path: Path, size: int) -> None:
    """Create an empty file and reserve `size` bytes for it; a `PortError` if the disk lacks them."""
    with path.open("wb") as file:
        try:
            if size and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                problem = f"no room for {size / 1e6:.0f} MB: {error.strerror}"
                raise PortError(problem, code="file-unwritable", file=path.parent) from None


@contextmanager
def report_write_errors(path: Path) -> Iterator[None]:
    """Turn errors of the system or of HDF5 while `path` is written into a `PortError`."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # HDF5 raises either
        quoted = re.search(r"error message = '([^']+)'", str(error))  # HDF5 quotes the system among its own words
        reason = quoted[1] if quoted else getattr(error, "strerror", None) or error
        raise PortError(f"cannot be written: {reason}", code="file-unwritable", file=path) from None


def require_folder(path: Path) -> None:
    """Refuse a file whose folder does not exist: like MATLAB, the ports do not create it."""
    if not path.parent.is_dir():
        hint = f"create it first: mkdir -p '{path.parent}'"
        raise PortError("the folder does not exist", code="file-missing", file=path, hint=hint)
    if path.is_dir():
        raise PortError("is a folder, expected a file", code="wrong-format", file=path, hint="name a file in it")


def require_file(path: Path) -> None:
    """Refuse a path that is missing, empty, or not a file: a folder, a device, a named pipe."""
    if not path.exists():
        raise PortError("no such file", code="file-missing", file=path)
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "a named pipe" if path.is_fifo() else "a device"
        raise PortError(f"is {kind}, expected a file", code="wrong-format", file=path)
    if not path.stat().st_size:
        raise PortError("is empty", code="empty", file=path, hint="copy or write it again")
