"""Detect whether a file on the command line is text or binary, a net or a solver."""

from __future__ import annotations

from pathlib import Path

from google.protobuf.message import Message

from caffe_compat.errors import CaffeCompatError, FileError
from caffe_compat.formats.files import all_unknown_fields, read_net, read_solver
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


def is_solver(path: str) -> bool:
    """Tell whether a text parses with fewer unknown fields as SolverParameter than as NetParameter."""

    def unknown_fields(message: Message) -> int:
        return len(all_unknown_fields(message))

    try:
        unknown_to_solver = unknown_fields(read_solver(path))
    except CaffeCompatError:
        return False
    try:
        return unknown_to_solver < unknown_fields(read_net(path))
    except CaffeCompatError:
        return True
