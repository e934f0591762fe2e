"""Pictures of nets: SVG, PNG and PDF without Graphviz, and text for Graphviz where one wants it."""

from __future__ import annotations

import os

from caffe_compat.draw.content import RANK_DIRECTIONS, Diagram, diagram
from caffe_compat.draw.dot import to_dot
from caffe_compat.draw.figure import PICTURES, render
from caffe_compat.errors import CaffeCompatError, did_you_mean
from caffe_compat.formats.atomic import atomic_path
from caffe_compat.schema.caffe_pb2 import NetParameter

__all__ = ["FORMATS", "RANK_DIRECTIONS", "Diagram", "diagram", "dot_text", "draw", "draw_to_file", "encode"]

_TEXTS = ("dot", "gv", "raw")
FORMATS = (*PICTURES, *_TEXTS)
PathLike = str | os.PathLike[str]


def encode(picture: Diagram, fmt: str = "png") -> bytes:
    """Return a diagram as the content of a file.

    Raises
    ------
    CaffeCompatError
        If the format is unknown.
    """
    name = _known(fmt)
    return to_dot(picture).encode() if name in _TEXTS else render(picture, name)


def draw(
    net: NetParameter,
    fmt: str = "png",
    *,
    rankdir: str = "LR",
    phase: str | None = None,
    stages: tuple[str, ...] = (),
    level: int = 0,
    label_edges: bool = True,
    display_lrm: bool = False,
) -> bytes:
    """Return a picture of a net; see :func:`draw_to_file`."""
    name = _known(fmt)
    return encode(
        diagram(
            net,
            rankdir=rankdir,
            phase=phase,
            stages=stages,
            level=level,
            label_edges=label_edges,
            display_lrm=display_lrm,
        ),
        name,
    )


def dot_text(
    net: NetParameter,
    *,
    rankdir: str = "LR",
    phase: str | None = None,
    stages: tuple[str, ...] = (),
    level: int = 0,
    label_edges: bool = True,
    display_lrm: bool = False,
) -> str:
    """Return the picture as text for Graphviz's ``dot``; see :func:`draw_to_file`."""
    return to_dot(
        diagram(
            net,
            rankdir=rankdir,
            phase=phase,
            stages=stages,
            level=level,
            label_edges=label_edges,
            display_lrm=display_lrm,
        )
    )


def draw_to_file(
    net: NetParameter,
    path: PathLike,
    *,
    fmt: str | None = None,
    rankdir: str = "LR",
    phase: str | None = None,
    stages: tuple[str, ...] = (),
    level: int = 0,
    label_edges: bool = True,
    display_lrm: bool = False,
) -> None:
    """Draw a net to a file.

    Parameters
    ----------
    net : in any of Caffe's versions; it is brought to the current one here.
    path : the file; it appears complete or not at all.
    fmt : one of :data:`FORMATS`; by default what the file's name ends in.
    rankdir : where the data flows: ``LR``, ``TB``, ``BT`` or ``RL``.
    phase : ``"TRAIN"`` or ``"TEST"`` draws the net of that phase; None draws every layer.
    stages, level : the rest of the state that decides which layers the net of a phase has.
    label_edges : whether the edges out of data and learning layers tell batch size and number of outputs.
    display_lrm : whether learning layers tell their learning-rate multipliers.

    Raises
    ------
    CaffeCompatError
        If the format, direction or phase is unknown, or the net cannot be brought to the current version.
    """
    suffix = os.path.splitext(path)[1][1:]  # noqa: PTH122  (pathlib knows no suffix of ".png")
    if fmt is None and not suffix:
        raise CaffeCompatError("the name tells no format", file=path, hint=f"end it in {_listed()}")
    content = draw(
        net,
        fmt or suffix,
        rankdir=rankdir,
        phase=phase,
        stages=stages,
        level=level,
        label_edges=label_edges,
        display_lrm=display_lrm,
    )
    with atomic_path(path) as partial:
        partial.write_bytes(content)


def _known(fmt: str) -> str:
    name = fmt.lower()
    if name not in FORMATS:
        raise CaffeCompatError(
            "no such format of pictures", field="format", value=fmt, hint=did_you_mean(name, FORMATS) or _listed()
        )
    return name


def _listed() -> str:
    return ", ".join(FORMATS[:-1]) + f" or {FORMATS[-1]}"
