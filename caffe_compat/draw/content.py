"""The content of a drawing of a net (its layers and blobs, their texts and their edges), and its text for Graphviz.

Names, labels and colours are those of pycaffe's draw module (BVLC Caffe 9b89154), which people know from papers and
slides: learning layers red and violet, pooling orange, in-place layers green, blobs grey octagons.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from caffe_compat.definition.filtering import net_state
from caffe_compat.definition.prepare import prepare
from caffe_compat.definition.upgrade import upgrade_net
from caffe_compat.errors import CaffeCompatError, did_you_mean, printable
from caffe_compat.layers import facts
from caffe_compat.schema.caffe_pb2 import LayerParameter, NetParameter

RANK_DIRECTIONS = ("LR", "TB", "BT", "RL")
_IN_PLACE, _BLOB = "#90EE90", "#E0E0E0"


@dataclass(frozen=True)
class DiagramNode:
    """A layer (a box) or a blob (an octagon), with the lines of its text and the colour of its fill, ``#RRGGBB``."""

    lines: tuple[str, ...]
    colour: str
    blob: bool = False


@dataclass(frozen=True)
class Edge:
    """An edge between two nodes, by their keys, with a label."""

    source: str
    target: str
    label: str = ""


@dataclass
class Diagram:
    """A net to draw: nodes by key, in the net's order, and edges."""

    name: str
    rankdir: str
    nodes: dict[str, DiagramNode] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)


def diagram(
    net: NetParameter,
    *,
    rankdir: str = "LR",
    phase: str | None = None,
    stages: Sequence[str] = (),
    level: int = 0,
    label_edges: bool = True,
    display_lrm: bool = False,
) -> Diagram:
    """Return the drawing of a net of any version; `rankdir` is the direction of the data.

    Without a `phase` ("TRAIN" or "TEST") every layer is drawn, else those of the phase, `stages` and `level`. Labels
    are, on edges out of data layers, the batch size, out of learning layers, the outputs; `display_lrm` adds the
    learning-rate multipliers to learning layers.
    """
    if rankdir.upper() not in RANK_DIRECTIONS:
        hint = did_you_mean(rankdir, RANK_DIRECTIONS) or "choose LR, TB, BT or RL"
        raise CaffeCompatError("unknown direction", code="name-unknown", field="rankdir", value=rankdir, hint=hint)
    net = upgrade_net(net) if phase is None else prepare(net, net_state(phase, stages=stages, level=level)).message
    out = Diagram(printable(net.name) or "Net", rankdir.upper())
    for name in net.input:  # of an input without any shape, which no layer replaces
        out.nodes[f"{name}_blob"] = DiagramNode((printable(name),), _BLOB, blob=True)
    for index, layer in enumerate(net.layer):
        key = f"{layer.name}_{layer.type}"
        if key in out.nodes:  # for example TRAIN's and TEST's data layer
            key = f"{key}_{index}"
        layer_type, lines = facts(layer.type), layer_lines(layer, display_lrm=display_lrm)
        if phase is None:
            lines += _phases(layer)
        colour = _IN_PLACE if in_place(layer) else layer_type.drawing.colour
        out.nodes[key] = DiagramNode(tuple(map(printable, lines)), colour)
        for names in (layer.bottom, layer.top):
            for name in names:
                out.nodes.setdefault(f"{name}_blob", DiagramNode((printable(name),), _BLOB, blob=True))
        out.edges += [Edge(f"{name}_blob", key) for name in layer.bottom]
        label = layer_type.drawn_output(layer) if label_edges else ""
        out.edges += [Edge(key, f"{name}_blob", label) for name in layer.top]
    return out


def in_place(layer: LayerParameter) -> bool:
    """Whether a layer overwrites its only bottom."""
    return list(layer.bottom) == list(layer.top) and len(layer.top) == 1


def layer_lines(layer: LayerParameter, *, display_lrm: bool = False) -> list[str]:
    """Return the lines in a layer's box: name, type, window, learning-rate multipliers."""
    layer_type = facts(layer.type)
    lines = [layer.name, *layer_type.drawn_lines(layer)]
    if display_lrm and layer_type.drawing.lr_mult:
        weights, bias = lr_mults(layer)
        if weights or bias:
            lines.append(f"lr mult: {weights:.1f}, {bias:.1f}")
    return lines


def lr_mults(layer: LayerParameter) -> tuple[float, float]:
    """Return the learning-rate multipliers of weights and bias."""
    weights, bias = ([*(p.lr_mult for p in layer.param), 1.0, 1.0])[:2]
    return weights, bias


def _phases(layer: LayerParameter) -> list[str]:
    """Return the phases of a layer as text, for drawings of all phases."""
    names = ("TRAIN", "TEST")
    only = [names[rule.phase] for rule in layer.include if rule.HasField("phase")]
    never = [names[rule.phase] for rule in layer.exclude if rule.HasField("phase")]
    return [f"phase: {', '.join(only)}"] if only else [f"not in phase: {', '.join(never)}"] if never else []


def to_dot(picture: Diagram) -> str:
    """Return a directed graph in the DOT language."""
    numbers = {key: f"n{index}" for index, key in enumerate(picture.nodes)}
    lines = [f"digraph {_quoted(picture.name)} {{", f"rankdir={picture.rankdir};"]
    lines += [f"{numbers[key]} [{_attributes(node, picture.rankdir)}];" for key, node in picture.nodes.items()]
    for edge in picture.edges:
        label = f" [label={_quoted(edge.label)}]" if edge.label else ""
        lines.append(f"{numbers[edge.source]} -> {numbers[edge.target]}{label};")
    return "\n".join([*lines, "}", ""])


def _attributes(node: DiagramNode, rankdir: str) -> str:
    separator = " " if rankdir in ("TB", "BT") else "\n"
    label = _quoted(separator.join(node.lines))
    if not node.blob:  # what is written in a record has marks of its own, which one backslash takes for characters
        label = re.sub(r"([{}|<>])", r"\\\1", label)
    shape = "octagon" if node.blob else "record"
    return f'label={label}, shape={shape}, style=filled, fillcolor="{node.colour}"'


def _quoted(text: str) -> str:
    """Return a text in quotes; a line feed is written as the escape that Graphviz centres lines at."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
