"""Files that another machine may have written."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

PATIENCE = 60.0
"""Seconds in which a file appears on another machine: as long as NFS keeps what it knows of a folder."""


def unseen(sizes: Mapping[Path, int | None], patience: float = 0.0) -> Path | None:
    """Return the first file that is not there with its size in bytes (None: any) after `patience` seconds."""
    end = time.monotonic() + patience
    for path, size in sizes.items():
        while not _is_seen(path, size):
            if time.monotonic() >= end:
                return path
            time.sleep(0.1)
    return None


def _is_seen(path: Path, size: int | None) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:  # on NFS, what is known of a file is refreshed when it is opened
        return size is None or file.seek(0, 2) == size
