"""A diagram drawn with matplotlib."""

from __future__ import annotations

import functools
import io
import math
import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from caffe_compat.draw.content import Diagram, DiagramNode
from caffe_compat.draw.layout import Layout, layout

if TYPE_CHECKING:
    from matplotlib.axes import Axes

IMAGE_FORMATS = ("svg", "png", "pdf", "eps", "ps", "jpg", "jpeg")
FONT, SMALL, LINE = 10.0, 8.0, 12.5  # points
MARGIN, PADDING = 12.0, 8.0
DPI = 96.0
SIDE, AREA = 32000, 64_000_000  # pixels: the limit of common viewers, and 256 MB while drawing
APART = 4.0  # half the distance between the two arrows of an in-place layer
Point = tuple[float, float]


def render(diagram: Diagram, fmt: str) -> bytes:
    """Return a diagram in one of IMAGE_FORMATS; reduce the resolution if viewers could not open it."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    flows_down = diagram.rankdir in ("TB", "BT")
    sizes = [_size(node, flows_down=flows_down) for node in diagram.nodes.values()]
    numbers = {key: index for index, key in enumerate(diagram.nodes)}
    edges = [(numbers[edge.source], numbers[edge.target]) for edge in diagram.edges]
    labels = max((_width(edge.label, SMALL) for edge in diagram.edges), default=0.0)
    pairs = set(edges)
    depths, breadths = [s[flows_down] for s in sizes], [s[not flows_down] for s in sizes]
    places = layout(depths, breadths, edges, (34.0 if flows_down else 30.0 + labels, 14.0))
    turn = _Turn(diagram.rankdir, places.size)
    width, height = (extent + 2 * MARGIN for extent in turn.size)
    with warnings.catch_warnings(), mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "caffe-compat"}):
        warnings.simplefilter("ignore")  # about glyphs missing from the font
        figure = Figure((width / 72, height / 72), dpi=_dpi(width, height), facecolor="white")
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(-MARGIN, width - MARGIN), ylim=(-MARGIN, height - MARGIN))
        axes.set_axis_off()
        for index, edge in enumerate(diagram.edges):
            path = _path(places, edges[index], index, depths, twin=edges[index][::-1] in pairs)
            _arrow(axes, [turn(point) for point in path], edge.label, flows_down=flows_down)
        for node, size, along, across in zip(diagram.nodes.values(), sizes, places.along, places.across, strict=True):
            _box(axes, node, turn((along, across)), size, flows_down=flows_down)
        content = io.BytesIO()
        undated: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
        figure.savefig(content, format=fmt, dpi="figure", facecolor="white", metadata=undated.get(fmt))
    return content.getvalue()


def _dpi(width: float, height: float) -> float:
    """Return the resolution, in dots per inch, of a figure of this size in points."""
    inches, square = max(width, height) / 72, width * height / 72**2
    return min(DPI, SIDE / inches, math.sqrt(AREA / square))


class _Turn:
    """Maps coordinates along and across the flow to coordinates right and up."""

    def __init__(self, rankdir: str, size: tuple[float, float]) -> None:
        self.rankdir = rankdir
        self.along, self.across = size
        self.size = size[::-1] if rankdir in ("TB", "BT") else size

    def __call__(self, point: Point) -> Point:
        along, across = point
        if self.rankdir == "LR":
            return along, self.across - across
        if self.rankdir == "RL":
            return self.along - along, self.across - across
        return across, (self.along - along if self.rankdir == "TB" else along)


@functools.lru_cache(maxsize=4096)
def _width(text: str, size: float) -> float:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    if not text:
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        width: float = text_to_path.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)[0]
    return width


def _text(node: DiagramNode, *, flows_down: bool) -> tuple[str, ...]:
    """Return the lines of a node's label: a single line if the flow is vertical."""
    return (" ".join(node.lines),) if flows_down else node.lines


def _size(node: DiagramNode, *, flows_down: bool) -> tuple[float, float]:
    lines = _text(node, flows_down=flows_down)
    corner = 2 * PADDING if node.blob else PADDING
    return max(_width(line, FONT) for line in lines) + 2 * corner, len(lines) * LINE + 2 * PADDING


def _box(axes: Axes, node: DiagramNode, centre: Point, size: tuple[float, float], *, flows_down: bool) -> None:
    from matplotlib.patches import Polygon

    (x, y), (w, h) = centre, (size[0] / 2, size[1] / 2)
    cut = min(PADDING, h) if node.blob else 0.0
    corners = [(w, h - cut), (w - cut, h), (cut - w, h), (-w, h - cut)] if cut else [(w, h), (-w, h)]
    outline = [(x + a, y + b) for a, b in corners] + [(x - a, y - b) for a, b in corners]
    axes.add_patch(Polygon(outline, closed=True, facecolor=node.colour, edgecolor="black", linewidth=0.8, zorder=2))
    lines = "\n".join(_text(node, flows_down=flows_down))
    spacing = LINE / FONT / 1.2  # matplotlib's lines are 1.2 times the font's size apart
    axes.text(
        x,
        y,
        lines,
        ha="center",
        va="center",
        fontsize=FONT,
        linespacing=spacing,
        parse_math=False,
        zorder=3,
        color="black",
    )


def _path(
    places: Layout, edge: tuple[int, int], index: int, depths: Sequence[float], *, twin: bool
) -> list[tuple[float, float]]:
    """Return the points of an arrow, along and across the flow, from border to border."""
    source, target = edge
    side = -1.0 if places.turned[index] else 1.0
    aside = APART * side if twin else 0.0
    start = (places.along[source] + side * depths[source] / 2, places.across[source] - aside)
    end = (places.along[target] - side * depths[target] / 2, places.across[target] - aside)
    return [start, *places.routes[index], end]


def _arrow(axes: Axes, points: Sequence[Point], label: str, *, flows_down: bool) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    vertices, codes = [points[0]], [Path.MOVETO]
    for (x0, y0), (x1, y1) in pairwise(points):
        xm, ym = (x0 + x1) / 2, (y0 + y1) / 2
        vertices += [(x0, ym), (x1, ym), (x1, y1)] if flows_down else [(xm, y0), (xm, y1), (x1, y1)]
        codes += [Path.CURVE4] * 3
    line = Path(vertices, codes)
    axes.add_patch(
        FancyArrowPatch(path=line, arrowstyle="-|>", mutation_scale=8, linewidth=0.8, color="black", zorder=1)
    )
    if label:
        x, y = (np.add(points[0], points[1]) / 2).tolist()
        x, y, ha, va = (x + 4, y, "left", "center") if flows_down else (x, y + 2, "center", "bottom")
        axes.text(x, y, label, ha=ha, va=va, fontsize=SMALL, parse_math=False, zorder=3)
