"""Write debug_info's lines: the mean absolute value of every blob, layer by layer, forward and backward.

Facts from BVLC Caffe 9b89154, net.cpp (ForwardDebugInfo, BackwardDebugInfo, Backward): tops and parameters after each
layer's forward pass, gradients of bottoms and parameters after each backward pass, then the norms of all parameters.
Caffe 1.0 has lines for the update as well, but nothing calls them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch

from caffe_compat.build.executor import Executor, Hooks
from caffe_compat.build.net import CaffeNet
from caffe_compat.build.weights import tensor_of
from caffe_compat.graph.graph import LayerNode, NetGraph
from caffe_compat.solver.log import number

Say = Callable[[str, str, str], None]
"""Takes the place in Caffe's source, the text, and the severity (I, W, E)."""


class DebugLines:
    """The lines of one net."""

    def __init__(self, graph: NetGraph, say: Say) -> None:
        self._graph, self._say = graph, say

    def forward(self, node: LayerNode, tops: Iterable[torch.Tensor], params: Iterable[torch.Tensor]) -> None:
        """Write a layer's tops and parameters."""
        at = f"    [Forward] Layer {node.name}"
        for name, value in zip(node.tops, tops, strict=True):
            shown = "(automatic)" if name == f"{node.name} (automatic)" else name
            self._say("net.cpp:593", f"{at}, top blob {shown} data: {_mean(value)}", "I")
        given = node.spec.param.param
        for index, value in enumerate(params):
            shown = (given[index].name if index < len(given) else "") or str(index)
            self._say("net.cpp:605", f"{at}, param blob {shown} data: {_mean(value)}", "I")

    def backward(
        self, node: LayerNode, bottoms: Iterable[torch.Tensor | None], params: Iterable[torch.Tensor | None]
    ) -> None:
        """Write the gradients a layer made; None for one it did not make."""
        at = f"    [Backward] Layer {node.name}"
        for name, grad in zip(node.bottoms, bottoms, strict=True):
            if grad is not None:
                self._say("net.cpp:621", f"{at}, bottom blob {name} diff: {_mean(grad)}", "I")
        for index, grad in enumerate(params):
            if grad is not None:
                self._say("net.cpp:632", f"{at}, param blob {index} diff: {_mean(grad)}", "I")

    def total(self, values: Sequence[torch.Tensor], grads: Sequence[torch.Tensor | None]) -> None:
        """Write the norms of all parameters and of all their gradients."""
        norms = [
            (sum(float(t.abs().sum()) for t in kind), sum(float(t.square().sum()) for t in kind) ** 0.5)
            for kind in ([v.detach().double() for v in values], [g.double() for g in grads if g is not None])
        ]
        (first, second), (first_diff, second_diff) = norms
        text = f"L1 norm = ({number(first)}, {number(first_diff)}); L2 norm = ({number(second)}, {number(second_diff)})"
        self._say("net.cpp:721", f"    [Backward] All net params (data, diff): {text}", "E")


def _mean(value: torch.Tensor) -> str:
    return number(float(value.detach().double().abs().sum()) / max(value.numel(), 1))


class DebugPass(Hooks):
    """Passes of a torch net one layer after the other, each written to the log; nothing fused, every gradient kept."""

    def __init__(self, net: CaffeNet, say: Say) -> None:
        self._net = net
        self._lines = DebugLines(net.caffe, say)
        self._executor = Executor(net, net.returns, self)
        self._passed: list[tuple[LayerNode, Sequence[torch.Tensor]]] = []

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Run the net on inputs by blob; return everything it returns by blob."""
        self._passed = []
        return self._executor.forward(inputs)

    def bottom(self, node: LayerNode, index: int, value: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        """Return a bottom as this layer alone sees it, so that its gradient is this layer's alone."""
        own = value.view_as(value)
        if own.requires_grad:
            own.retain_grad()
        return own

    def after(self, node: LayerNode, bottoms: Sequence[torch.Tensor], tops: Sequence[torch.Tensor]) -> None:
        """Write a layer's tops."""
        self._lines.forward(node, tops, [tensor_of(self._net, slot.owner or slot.key) for slot in node.slots])
        self._passed.append((node, bottoms))

    def backward(self) -> None:
        """Write the gradients of the last pass, after they were computed."""
        for node, bottoms in reversed(self._passed):
            grads = [bottom.grad if bottom.requires_grad else None for bottom in bottoms]
            param_grads = [
                tensor_of(self._net, slot.owner or slot.key).grad if slot.lr_mult else None for slot in node.slots
            ]
            self._lines.backward(node, grads, param_grads)
        tensors = [item.tensor for item in self._net.params]
        self._lines.total(tensors, [tensor.grad for tensor in tensors])
        self._passed = []
