"""Write files whole or not at all, with one error for whatever the system says about it."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from matlab_ports._support.errors import PortError
from matlab_ports._support.partial_file import partial_file


@contextmanager
def atomic_path(path: str | Path, size: int = 0) -> Iterator[Path]:
    """Yield a temporary name beside `path`; on success the file gets its name, on any error nothing remains.

    Room for `size` bytes is asked for first, so that a disk too small is noticed before the work is done.

    The file is on the disk before it is renamed, so that whatever ends the process leaves either the old file under the
    final name or the new one, complete. A killed process leaves its ``.partial`` file behind, which the next process
    that writes into the folder removes.
    """
    final = Path(path)
    with partial_file(final) as temporary:
        reserve(temporary, size)
        yield temporary


def reserve(path: Path, size: int) -> None:
    """Make an empty file and ask for room; a `PortError` if there is none."""
    with path.open("wb") as file:
        try:
            if size and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise PortError(f"no room for {size / 1e6:.0f} MB ({error.strerror})", where=path.parent) from None


@contextmanager
def clear_disk_errors(path: Path) -> Iterator[None]:
    """Turn what the system says about writing `path` into the ports' own error."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # HDF5 raises either
        said = re.search(r"error message = '([^']+)'", str(error))  # HDF5 quotes the system among its own words
        reason = said[1] if said else getattr(error, "strerror", None) or error
        raise PortError(f"cannot be written ({reason})", where=path) from None


def require_folder(path: Path) -> None:
    """Refuse a path whose folder does not exist: as in MATLAB, none is made."""
    if not path.parent.is_dir():
        raise PortError("its folder does not exist", where=path, hint=f"make it first: mkdir -p '{path.parent}'")
    if path.is_dir():
        raise PortError("is a folder", where=path, hint="name a file in it")
