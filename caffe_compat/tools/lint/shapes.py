"""Rules that need shapes: pooling that rounds up."""

from __future__ import annotations

from collections.abc import Iterator

from caffe_compat.graph.graph import LayerNode
from caffe_compat.layers.pooling import window
from caffe_compat.tools.lint.rules import Finding
from caffe_compat.tools.lint.target import Subject


def pooling(subject: Subject) -> Iterator[Finding]:
    """Yield pooling layers whose output is larger than with rounding down."""
    for state in subject.states:
        for node in state.graph.nodes if state.graph else ():
            if "pooling_param" in node.layer.accounts and not node.spec.param.pooling_param.global_pooling:
                yield from _rounded(subject, node, state.phase)


def _rounded(subject: Subject, node: LayerNode, phase: str) -> Iterator[Finding]:
    at, size = window(node.spec), node.spec.bottoms[0][2:]
    up = tuple(at.output(extent, axis) for axis, extent in enumerate(size))
    down = tuple(
        (extent + 2 * at.pad[axis] - at.kernel[axis]) // at.stride[axis] + 1 for axis, extent in enumerate(size)
    )
    if up == down:
        return
    text = (
        f"its last window extends beyond the border: {_x(size)} becomes {_x(up)}, or {_x(down)} rounded down",
        "Caffe rounds up, but torch, TensorFlow and ONNX round down by default; an AVE window at the border is smaller",
        "nothing to do here; use ceil mode in other frameworks, or round_mode: FLOOR in new nets",
    )
    field = "pooling_param.stride" if max(at.stride) > 1 else "pooling_param.kernel_size"
    yield subject.finding("pool-rounds-up", "note", node.spec.param, text, field, phase=phase)


def _x(extents: tuple[int, ...]) -> str:
    return "x".join(map(str, extents))
