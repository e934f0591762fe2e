"""debug_info of a net: the mean absolute value of every blob, layer by layer, as the net runs."""

from __future__ import annotations

from collections.abc import Sequence

from caffe_compat.graph.graph import NetGraph
from caffe_compat.pycaffe.steps import Step
from caffe_compat.solver.debug import DebugLines, Say


class DebugWriter:
    """Writer of the debug_info lines; silent until `write_to` names a log."""

    def __init__(self, graph: NetGraph, steps: Sequence[Step]) -> None:
        self._graph, self._steps = graph, steps
        self.lines: DebugLines | None = None

    def write_to(self, say: Say | None) -> None:
        """Write to `say` from now on; None stops the writing."""
        self.lines = None if say is None else DebugLines(self._graph, say)

    def forward(self, number: int) -> None:
        """Write the means of a layer's tops and parameters."""
        if self.lines is not None:
            step = self._steps[number]
            params = [blob.values() for blob in step.layer.blobs]
            self.lines.forward(step.node, [top.values() for top in step.tops], params)

    def backward(self, number: int) -> None:
        """Write the means of a layer's gradients, if it took part in the backward pass."""
        step = self._steps[number]
        if self.lines is not None and step.need.layer:
            bottoms = zip(step.bottoms, step.need.bottoms, strict=True)
            params = zip(step.layer.blobs, step.need.params, strict=True)
            self.lines.backward(
                step.node,
                [bottom.gradients() if needed else None for bottom, needed in bottoms],
                [blob.gradients() if needed else None for blob, needed in params],
            )
