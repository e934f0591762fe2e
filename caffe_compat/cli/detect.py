"""What a file given on the command line is."""

from __future__ import annotations

from pathlib import Path

from google.protobuf.message import Message

from caffe_compat.errors import CaffeCompatError, FileError
from caffe_compat.formats.files import all_unknown_fields, read_net, read_solver
from caffe_compat.formats.sniff import is_text


def says_text(path: str) -> bool:
    """Tell whether a file reads like text."""
    if not Path(path).is_file():
        raise FileError("this is a folder; a file is expected" if Path(path).is_dir() else "no such file", file=path)
    with Path(path).open("rb") as file:
        return is_text(file.read(4096))


def is_solver(path: str) -> bool:
    """Tell whether a text fits SolverParameter better than NetParameter."""

    def strangers(message: Message) -> int:
        return len(all_unknown_fields(message))

    try:
        as_solver = strangers(read_solver(path))
    except CaffeCompatError:
        return False
    try:
        return as_solver < strangers(read_net(path))
    except CaffeCompatError:
        return True
