"""Draw nets as SVG, PNG or PDF without Graphviz, or as DOT text for Graphviz."""

from __future__ import annotations

import os
from typing import TypedDict, Unpack

from caffe_compat.draw.content import RANK_DIRECTIONS, Diagram, diagram, to_dot
from caffe_compat.draw.figure import IMAGE_FORMATS, render
from caffe_compat.errors import CaffeCompatError, did_you_mean
from caffe_compat.formats.atomic import atomic_path
from caffe_compat.schema.caffe_pb2 import NetParameter

__all__ = ["FORMATS", "RANK_DIRECTIONS", "Diagram", "diagram", "dot_text", "draw", "draw_to_file", "encode"]

_TEXTS = ("dot", "gv", "raw")
FORMATS = (*IMAGE_FORMATS, *_TEXTS)
PathLike = str | os.PathLike[str]


class DrawingOptions(TypedDict, total=False):
    """Options of a drawing of a net.

    Attributes
    ----------
    rankdir : direction of the data: ``LR``, ``TB``, ``BT`` or ``RL``.
    phase : ``"TRAIN"`` or ``"TEST"`` draws the net of that phase; None draws every layer.
    stages, level : the rest of the state that decides which layers the net of a phase has.
    label_edges : label edges out of data layers with the batch size, and out of learning layers with the outputs.
    display_lrm : show the learning-rate multipliers of learning layers.
    """

    rankdir: str
    phase: str | None
    stages: tuple[str, ...]
    level: int
    label_edges: bool
    display_lrm: bool


def encode(picture: Diagram, fmt: str = "png") -> bytes:
    """Return a diagram as the content of a file."""
    name = _require_format(fmt)
    return to_dot(picture).encode() if name in _TEXTS else render(picture, name)


def draw(net: NetParameter, fmt: str = "png", **options: Unpack[DrawingOptions]) -> bytes:
    """Return a drawing of a net; see :class:`DrawingOptions`."""
    name = _require_format(fmt)
    return encode(diagram(net, **options), name)


def dot_text(net: NetParameter, **options: Unpack[DrawingOptions]) -> str:
    """Return a drawing as text for Graphviz's ``dot``; see :class:`DrawingOptions`."""
    return to_dot(diagram(net, **options))


def draw_to_file(
    net: NetParameter, path: PathLike, *, fmt: str | None = None, **options: Unpack[DrawingOptions]
) -> None:
    """Draw a net of any version to a file, atomically; its suffix is the default of `fmt`."""
    suffix = os.path.splitext(path)[1][1:]  # noqa: PTH122  (pathlib knows no suffix of ".png")
    if fmt is None and not suffix:
        raise CaffeCompatError(
            "no format in the file name", code="field-missing", file=path, hint=f"end it in {_list_formats()}"
        )
    content = draw(net, fmt or suffix, **options)
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
