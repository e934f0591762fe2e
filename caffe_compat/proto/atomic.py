"""Files that are whole or not there."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from caffe_compat.errors import FileError

PARTIAL = ".partial"
"""Ends the name of a file that is being written; one that a killed run left behind may be deleted."""


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path that takes the place of `path`, complete and on disk, when the block ends without error.

    A link is followed. What is neither a file nor absent (``/dev/stdout``) is written directly. A killed process leaves
    at most a file whose name ends in ``.partial``.

    Raises
    ------
    FileError
        If the folder does not exist or cannot be written, or the disk is full.
    """
    final = Path(os.path.realpath(path))
    try:
        mode = final.stat().st_mode
    except OSError:
        mode = None
    if mode is not None and stat.S_ISDIR(mode):
        raise FileError("this is a folder; a file is to be written", file=os.fspath(path))
    if mode is not None and not stat.S_ISREG(mode):
        yield final
        return
    partial = final.with_name(f".{final.name[:100]}.{os.getpid()}-{secrets.token_hex(4)}{PARTIAL}")
    try:
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666 if mode is None else stat.S_IMODE(mode)))
        yield partial
        _sync(partial)
        partial.replace(final)
        _sync(final.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise FileError(f"cannot be written: {error.strerror or error}", file=os.fspath(path)) from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
