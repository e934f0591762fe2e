"""A diagram as text for Graphviz."""

from __future__ import annotations

import re

from caffe_compat.draw.content import Diagram, DiagramNode


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
