"""Refuse paths whose reading might never end."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from caffe_compat.errors import FileError

_KINDS = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}


def require_regular(path: str | os.PathLike[str]) -> None:
    """Refuse a device, and a named pipe, whose writer may never come.

    An open pipe (``/dev/stdin``, ``<(...)``) is accepted, and so is a missing file, which fails when it is opened.
    """
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):
        return
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return
    if stat.S_ISFIFO(mode) and not Path(os.path.realpath(path)).exists():
        return
    kind = _KINDS.get(stat.S_IFMT(mode), "a device")
    raise FileError(f"is {kind}, expected a file", code="wrong-format", file=path)
