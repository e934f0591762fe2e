"""Figure 3: SR-FCN, and the CNN whose first layers start as SR-FCN's, drawn from the definitions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from caffe_compat.definition.filtering import net_state
from caffe_compat.definition.prepare import prepare
from caffe_compat.graph.graph import LayerNode, build_graph
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.common.plots import INK, SOFT, new_figure, save
from lq_emotion.nets.definitions import builder
from lq_emotion.nets.names import Net
from lq_emotion.nets.switches import AS_CODE, PaperSwitches
from lq_emotion.studies.robust_lq.figure1 import connect

_SHARED = "#c0392b"
_TINT = 0.45  # of a layer's colour; the rest is white
_STEP, _SLANT = 1.45, 0.35  # inches from box to box; how far a box recedes, for its height
_TALLEST, _ROW = 1.25, 2.9  # inches


@dataclass(frozen=True)
class Box:
    """A blob of a net, with the layers that make it."""

    layer: str
    """Name of the first of these layers; none of the input's."""
    kind: str
    colour: str
    """Of that type in drawings of nets."""
    shape: tuple[int, ...]
    """(C, H, W) or (C,)."""
    texts: tuple[str, ...]
    """A line for each of the layers."""


def draw_architectures(path: Path, *, switches: PaperSwitches = AS_CODE) -> None:
    """Draw both nets; arrows join layers of the same name whose weights the CNN takes over."""
    nets = [boxes(net, switches) for net in (Net.SR_FCN, Net.JOINT)]
    places = _aligned(*nets)
    width = 0.9 + (1 + max(max(row) for row in places)) * _STEP
    height = 2 * _ROW
    figure = new_figure(width, height, layout=None)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    titles = (
        "(a) SR-FCN: an enlarged face in, a sharper one out",
        "(b) CNN for joint super-resolution and emotion recognition: a face in, its valence out",
    )
    middles = (height - 1.4, 1.75)
    title_heights = (height - 0.3, 0.22)  # (b) below its net: arrows arrive from above
    for net, row, middle, title, at in zip(nets, places, middles, titles, title_heights, strict=True):
        axes.text(0.25, at, title, fontsize=10, weight="bold", va="center", color=INK)
        _draw_net(axes, net, [0.85 + _STEP * place for place in row], middle)
    shared = [place for box, place in zip(nets[0], places[0], strict=True) if _is_shared(box, nets[1])]
    ends = (middles[0] - _TALLEST / 2 - 0.55) / height, (middles[1] + _TALLEST / 2 + 0.38) / height
    for place in shared:
        x = (0.85 + _STEP * place) / width
        connect(figure, (x, ends[0]), (x, ends[1]), color=_SHARED, linestyle="--")
    text = "weights that (b) starts from"
    axes.text(0.95 + _STEP * max(shared), sum(ends) / 2 * height, text, fontsize=8, va="center", color=_SHARED)
    save(figure, path)


def boxes(net: Net, switches: PaperSwitches = AS_CODE) -> list[Box]:
    """Return what a net computes, blob by blob, with the sizes of its graph."""
    graph = build_graph(prepare(builder(net).deploy(switches, 1), net_state("TEST")))
    drawn: list[Box] = []
    for node in graph.nodes:
        if not node.tops or node.is_split or (node.type == "Input" and node.tops[0] == "label"):
            continue
        shape = tuple(graph.shapes[node.tops[0]][1:])
        if node.bottoms == node.tops:
            last = drawn.pop()
            drawn.append(replace(last, texts=(*last.texts, _text(node))))
        else:
            name = "" if node.type == "Input" else node.name
            drawn.append(Box(name, node.type, node.layer.drawing.colour, shape, (_text(node),)))
    return drawn


def _text(node: LayerNode) -> str:
    message: pb.LayerParameter = node.spec.param
    match node.type:
        case "Convolution":
            size = message.convolution_param.kernel_size[0]
            return f"{size} × {size} convolution"
        case "Pooling":
            size = message.pooling_param.kernel_size
            return f"{size} × {size} max pooling"
        case "InnerProduct":
            return "fully connected"
        case "Dropout":
            return f"dropout {message.dropout_param.dropout_ratio:g}"
        case "Input":
            return "face"
        case "MVN":
            return "mean 0, deviation 1"
    return node.type


def _is_shared(box: Box, other: Sequence[Box]) -> bool:
    return box.kind == "Convolution" and any((box.layer, box.kind) == (twin.layer, twin.kind) for twin in other)


def _aligned(first: Sequence[Box], second: Sequence[Box]) -> tuple[list[int], list[int]]:
    """Return the columns of both nets' boxes; layers of one name stand in one column."""
    columns = {box.layer: place for place, box in enumerate(second)}
    places: list[int] = []
    for box in first:
        places.append(max(columns.get(box.layer, 0), places[-1] + 1 if places else 0))
    return places, list(range(len(second)))


def _draw_net(axes: Any, net: Sequence[Box], centres: Sequence[float], middle: float) -> None:
    largest = max(box.shape[-1] for box in net if len(box.shape) == 3)
    right = None
    for box, centre in zip(net, centres, strict=True):
        width, height = _size(box, largest)
        slant = _SLANT * height if len(box.shape) == 3 else 0.0
        left = centre - (width + slant) / 2
        if right is not None:
            style = {"arrowstyle": "-|>", "color": SOFT, "linewidth": 1.0}
            axes.annotate("", (left - 0.03, middle), (right + 0.03, middle), arrowprops=style)
        _draw_box(axes, box, (left, middle - (height + slant) / 2), (width, height, slant))
        right = left + width + slant
        shape = " × ".join(map(str, box.shape))
        axes.text(centre, middle + _TALLEST / 2 + 0.2, shape, ha="center", fontsize=8, color=INK)
        texts = "\n".join(filter(None, (box.layer, *box.texts)))
        axes.text(centre, middle - _TALLEST / 2 - 0.12, texts, ha="center", va="top", fontsize=7.5, color=INK)


def _size(box: Box, largest: int) -> tuple[float, float]:
    """Return width and height in inches: the width follows the channels' logarithm, the height the rows.

    A vector's height follows the logarithm of its length.
    """
    if len(box.shape) == 3:
        return 0.05 + 0.035 * math.log2(box.shape[0] + 1), max((_TALLEST / (1 + _SLANT)) * box.shape[1] / largest, 0.08)
    return 0.09, 0.12 + 0.1 * math.log2(box.shape[0])


def _draw_box(axes: Any, box: Box, corner: tuple[float, float], size: tuple[float, float, float]) -> None:
    """Draw a box: its front, its top and its side, which recede by the slant."""
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Polygon

    (x, y), (width, height, slant) = corner, size
    tint = tuple(1 - _TINT * (1 - part) for part in to_rgb(box.colour))
    style = {"facecolor": tint, "edgecolor": INK, "linewidth": 0.8}
    front = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
    faces = [front]
    if slant:
        faces.append([front[3], front[2], (front[2][0] + slant, front[2][1] + slant), (x + slant, y + height + slant)])
        faces.append([front[1], (front[1][0] + slant, y + slant), (front[2][0] + slant, front[2][1] + slant), front[2]])
    for points in faces:
        axes.add_patch(Polygon(points, closed=True, **style))
