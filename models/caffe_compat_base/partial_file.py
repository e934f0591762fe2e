"""Write a file under a temporary name next to the final one, locked while its process lives."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

if sys.platform != "win32":
    import fcntl

PARTIAL = ".partial"
"""The suffix of a file that is being written."""

_NAME = re.compile(r"\..*\.\d+-[0-9a-f]{3,}\.partial", re.DOTALL)


@contextlib.contextmanager
def partial_file(final: Path, mode: int = 0o666) -> Iterator[Path]:
    """Yield the path of a new, empty file; on success it gets the final name, on any error it is removed.

    Files that killed processes left in the folder are removed first, once per process.
    """
    remove_abandoned(final.parent.resolve())
    partial, descriptor = _create_locked(final, mode)
    try:
        yield partial
        sync(partial)
        partial.replace(final)
        sync(final.parent)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def partial_name(final: Path) -> Path:
    """Return a name next to `final` that no other process uses."""
    return final.with_name(f".{final.name[:100]}.{os.getpid()}-{secrets.token_hex(4)}{PARTIAL}")


def _create_locked(final: Path, mode: int) -> tuple[Path, int]:
    while True:
        partial = partial_name(final)
        descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode)
        _lock(descriptor)
        if os.fstat(descriptor).st_nlink:
            return partial, descriptor
        os.close(descriptor)  # another process removed it as abandoned before it was locked


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Lock a folder that has a partial file's name."""
    if sys.platform == "win32":  # which cannot open one
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    if sys.platform != "win32":
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_SH)  # HDF5 locks what it reads in the same way


@functools.cache
def remove_abandoned(folder: Path) -> None:
    """Remove the files and folders that killed processes left: those with a partial file's name and without a lock."""
    if sys.platform == "win32":
        return
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _NAME.fullmatch(entry.name):
                with contextlib.suppress(OSError):
                    _remove_unlocked(Path(entry.path), folder=entry.is_dir(follow_symlinks=False))


def _remove_unlocked(path: Path, *, folder: bool) -> None:
    # NFS locks only what is open to write, and a folder cannot be
    descriptor = os.open(path, (os.O_RDONLY if folder else os.O_RDWR) | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if folder:
            shutil.rmtree(path)
        else:
            path.unlink()
    finally:
        os.close(descriptor)


def sync(path: Path) -> None:
    """Flush a file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
