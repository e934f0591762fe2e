"""Paths that can be read to an end."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from caffe_compat.errors import FileError

_KINDS = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}


def require_regular(path: str | os.PathLike[str]) -> None:
    """Refuse a device, and a pipe with a name, which waits for a writer that may never come.

    An open pipe (``/dev/stdin``, ``<(...)``) is taken; what does not exist is left to whoever opens it.
    """
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):
        return
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return
    if stat.S_ISFIFO(mode) and not Path(os.path.realpath(path)).exists():
        return
    raise FileError(f"this is {_KINDS.get(stat.S_IFMT(mode), 'a device')}; a file is expected", file=os.fspath(path))
