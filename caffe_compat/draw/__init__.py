"""Draw nets as SVG, PNG or PDF without Graphviz, or as DOT text for Graphviz."""

from __future__ import annotations

import os

from caffe_compat.draw.content import RANK_DIRECTIONS, Diagram, diagram, to_dot
from caffe_compat.draw.figure import IMAGE_FORMATS, render
from caffe_compat.errors import CaffeCompatError, did_you_mean
from caffe_compat.formats.atomic import atomic_path

__all__ = ["FORMATS", "RANK_DIRECTIONS", "Diagram", "diagram", "encode", "write"]

_TEXTS = ("dot", "gv", "raw")
FORMATS = (*IMAGE_FORMATS, *_TEXTS)
PathLike = str | os.PathLike[str]


def encode(picture: Diagram, fmt: str = "png") -> bytes:
    """Return a diagram as the content of a file."""
    name = _require_format(fmt)
    return to_dot(picture).encode() if name in _TEXTS else render(picture, name)


def write(picture: Diagram, path: PathLike, fmt: str | None = None) -> None:
    """Write a diagram to a file, atomically; its suffix is the default of `fmt`."""
    suffix = os.path.splitext(path)[1][1:]  # noqa: PTH122  (pathlib knows no suffix of ".png")
    if fmt is None and not suffix:
        raise CaffeCompatError(
            "no format in the file name", code="field-missing", file=path, hint=f"end it in {_list_formats()}"
        )
    content = encode(picture, fmt or suffix)
    with atomic_path(path) as partial:
        partial.write_bytes(content)


def _require_format(fmt: str) -> str:
    name = fmt.lower()
    if name not in FORMATS:
        problem = "unknown format"
        hint = did_you_mean(name, FORMATS) or f"choose {_list_formats()}"
        raise CaffeCompatError(problem, code="name-unknown", field="format", value=fmt, hint=hint)
    return name


def _list_formats() -> str:
    return ", ".join(FORMATS[:-1]) + f" or {FORMATS[-1]}"
