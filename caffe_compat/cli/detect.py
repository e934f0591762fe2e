"""Detect whether a file on the command line is text or binary."""

from __future__ import annotations

from pathlib import Path

from caffe_compat.errors import FileError
from caffe_compat.formats.sniff import is_text


def require_file(path: str | Path) -> None:
    """Refuse what is missing, or is not a file that can be read several times: a folder, a pipe, a device."""
    file = Path(path)
    if not file.exists():
        raise FileError("file does not exist", code="file-missing", file=path)
    if not file.is_file():
        kind = "a folder" if file.is_dir() else "a pipe or a device"
        raise FileError(f"is {kind}, expected a file", code="wrong-format", file=path)


def looks_like_text(path: str) -> bool:
    """Tell whether a file holds text."""
    require_file(path)
    with Path(path).open("rb") as file:
        return is_text(file.read(4096))
