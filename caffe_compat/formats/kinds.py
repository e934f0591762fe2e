"""Tell whether a file is text, and what a prototxt defines: a net, a solver or a label map."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from google.protobuf.message import Message

from caffe_compat.errors import CaffeCompatError
from caffe_compat.formats.extras import all_unknown_fields, unknown_fields
from caffe_compat.formats.files import read_net, read_solver
from caffe_compat.formats.regular_file import require_file
from caffe_compat.formats.sniff import is_text
from caffe_compat.schema.caffe_pb2 import NetParameter


def looks_like_text(path: str | PathLike[str]) -> bool:
    """Tell whether a file is text."""
    require_file(path)
    with Path(path).open("rb") as file:
        return is_text(file.read(4096))


def is_solver(path: str | PathLike[str]) -> bool:
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


def is_label_map(net: NetParameter) -> bool:
    """Tell whether a text read as a net has nothing but the items of a label map (SSD's labelmap_*.prototxt)."""
    return not net.ListFields() and bool(unknown_fields(net)) and {f.field for f in unknown_fields(net)} == {"item"}
