"""Folders of results: checked before hours of work, and locked, so that one process at a time works there."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from caffe_compat.errors import FileError

if sys.platform != "win32":
    import fcntl

LOCK = ".lq-emotion.lock"
_HINT = "choose another --out"


def require_folder(out: Path) -> None:
    """Refuse a file in the place of a folder, and a folder that can neither be written nor be created."""
    existing = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if not existing.is_dir():
        problem = "this is a file; a folder is expected"
        raise FileError(problem, code="wrong-type", file=existing, field="--out", hint=_HINT)
    if not os.access(existing, os.W_OK):
        raise FileError("no write permission", code="file-unwritable", file=existing, field="--out", hint=_HINT)


@contextmanager
def locked(folder: Path, work: str) -> Iterator[None]:
    """Keep other processes from working in a folder; the lock ends with the process, also when it is killed.

    ``FOLDER/.lq-emotion.lock`` names the process that works there, or did last.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    if path.is_symlink():
        raise FileError("is a link", code="unsafe", file=path, hint="remove it")
    with path.open("a+", encoding="utf-8") as file:
        if not try_lock(file):
            hint = "wait until it has ended, or choose another folder: --out"
            raise FileError(f"{_owner(file)} works in this folder", code="conflict", file=folder, hint=hint)
        owner = {
            "work": work, "host": socket.gethostname(), "process": os.getpid(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }  # fmt: skip
        file.truncate(0)
        file.write(json.dumps(owner) + "\n")
        file.flush()
        yield


def try_lock(file: IO[Any]) -> bool:
    """Lock an open file without waiting; True as well where the file system has no locks."""
    if sys.platform != "win32":
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True
    return True


def _owner(file: IO[Any]) -> str:
    file.seek(0)
    try:
        owner = json.loads(file.read())
        return f"lq-emotion {owner['work']} (process {owner['process']} on {owner['host']}, since {owner['since']})"
    except (ValueError, KeyError, TypeError):  # it is being written
        return "another process"
