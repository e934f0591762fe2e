"""Check a file before it is opened."""

from __future__ import annotations

from pathlib import Path

from matlab_ports._support.errors import PortError


def require_file(path: Path) -> None:
    """Refuse a path that is missing, empty, or not a file: a folder, a device, a named pipe."""
    if not path.exists():
        raise PortError("no such file", code="file-missing", file=path)
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "a named pipe" if path.is_fifo() else "a device"
        raise PortError(f"is {kind}, expected a file", code="wrong-format", file=path)
    if not path.stat().st_size:
        raise PortError("is empty", code="empty", file=path, hint="copy or write it again")
