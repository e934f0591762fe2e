"""Run a graph on torch modules: the calls that a net is made of, and the executor that makes them layer by layer.

A Split hands the same tensor to every reader, a Silence computes nothing, ``propagate_down: false`` detaches a bottom,
and a module with several tops returns a tuple: this module alone defines it. The fused module of
:func:`caffe_compat.build.net.build_net` and the executor behind debug_info, ``time``, ``diff --run`` and ``verify`` are
both made of :func:`call_layers`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from keyword import iskeyword
from operator import getitem
from typing import Any

import torch
from torch import fx, nn

from caffe_compat.build.operators import convolve, convolve_laid_out
from caffe_compat.errors import NetError
from caffe_compat.graph.graph import LayerNode, NetGraph

Values = dict[str, fx.Node]
"""Blob -> the value that it has after the layers called so far."""


def is_computed(node: LayerNode) -> bool:
    """Tell whether a layer calls a module: data is fed, a Split is the same tensor, Silence does nothing."""
    return not (node.layer.is_data or node.is_split) and (bool(node.tops) or node.layer.has_effect)


def call_layers(calls: fx.Graph, graph: NetGraph, values: Values, *, every_layer: bool = False) -> None:
    """Append a call for each layer to `calls`, named after its blob, and enter its tops into `values`.

    With `every_layer`, data, Split and Silence layers are called too, and each call is marked with its layer.
    """
    for node in graph.nodes:
        if not every_layer and node.is_split:
            values |= dict.fromkeys(node.tops, values[node.bottoms[0]])
        if not every_layer and not is_computed(node):
            continue
        bottoms = tuple(_bottoms(calls, node, values))
        if is_computed(node):
            name = identifier(node.tops[0] if len(node.tops) == 1 else node.name)
            call = calls.create_node("call_module", node.key, bottoms, {}, name)
        elif node.is_split:
            call = calls.call_function(_split, (*bottoms, len(node.tops)))
        else:
            call = calls.call_function(_nothing, bottoms)
        if every_layer:
            call.meta["layer"] = node
        if len(node.tops) == 1:
            values[node.tops[0]] = call
        else:
            values |= {top: calls.call_function(getitem, (call, i)) for i, top in enumerate(node.tops)}


def _split(bottom: torch.Tensor, count: int) -> tuple[torch.Tensor, ...]:
    return (bottom,) * count


def _nothing(*_bottoms: torch.Tensor) -> tuple[()]:
    return ()


def _bottoms(calls: fx.Graph, node: LayerNode, values: Mapping[str, fx.Node]) -> Iterator[fx.Node]:
    down = node.spec.param.propagate_down
    for i, blob in enumerate(node.bottoms):
        yield calls.call_method("detach", (values[blob],)) if down and not down[i] else values[blob]


def identifier(name: str) -> str:
    """Return a Python name as close to `name` as there is."""
    text = re.sub(r"\W", "_", name)
    text = f"_{text}" if not text or text[0].isdigit() else text
    return f"{text}_" if iskeyword(text) else text


def ordered_inputs(graph: NetGraph, inputs: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
    """Return inputs by blob in the net's order."""
    missing = [blob for blob in graph.inputs if blob not in inputs]
    if missing:
        problem = "this input has no value"
        hint = f"the net needs {', '.join(graph.inputs)}"
        raise NetError(problem, code="field-missing", field="inputs", value=missing[0], hint=hint)
    return [inputs[blob] for blob in graph.inputs]


class Hooks:
    """Functions called around each layer of an :class:`Executor`; by default none."""

    def before(self, node: LayerNode) -> None:
        """Act before a layer takes its bottoms."""

    def feed(self, node: LayerNode, inputs: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:  # noqa: ARG002
        """Return the tops of a data layer by blob; by default the inputs of the pass."""
        return inputs

    def bottom(self, node: LayerNode, index: int, value: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        """Return the bottom that the layer reads."""
        return value

    def after(self, node: LayerNode, bottoms: Sequence[torch.Tensor], tops: Sequence[torch.Tensor]) -> None:
        """Act on the bottoms and tops of a layer."""


class Executor(fx.Interpreter):
    """Runs a net layer by layer, data, Split and Silence layers included; nothing is fused or overwritten."""

    def __init__(self, net: fx.GraphModule, blobs: Sequence[str], hooks: Hooks | None = None) -> None:
        self._hooks = hooks or Hooks()
        self._inputs: Mapping[str, torch.Tensor] = {}
        self._fast = bool(net.meta.get("fast"))
        calls, values = fx.Graph(), Values()
        call_layers(calls, net.meta["caffe"], values, every_layer=True)
        calls.output({blob: values[blob] for blob in blobs})
        super().__init__(net, graph=calls)
        self.extra_traceback = False  # it would rewrite the message of an error

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Run a pass on inputs by blob; return the blobs of `returns` as they are after it."""
        self._inputs = inputs
        blobs: dict[str, torch.Tensor] = self.run()
        self._inputs = {}
        return blobs

    def run_node(self, n: fx.Node) -> Any:
        """Run a call; a layer's with the hooks around it."""
        node: LayerNode | None = n.meta.get("layer")
        if node is None:
            return super().run_node(n)
        hooks = self._hooks
        hooks.before(node)
        args, _ = self.fetch_args_kwargs_from_env(n)
        count = len(node.bottoms)
        bottoms = [hooks.bottom(node, index, value) for index, value in enumerate(args[:count])]
        if node.layer.is_data:
            batch = hooks.feed(node, self._inputs)
            tops = tuple(batch[top] for top in node.tops)
        else:
            result = self._call(n, (*bottoms, *args[count:]))
            tops = () if not node.tops else result if isinstance(result, tuple) else (result,)
        hooks.after(node, bottoms, tops)
        return tops[0] if len(tops) == 1 else tops

    def _call(self, n: fx.Node, args: tuple[Any, ...]) -> Any:
        """Call a layer as a pass of the net would, except that nothing is fused."""
        module = self.fetch_attr(str(n.target)) if n.op == "call_module" else None
        if type(module) is not nn.Conv2d or len(args) != 1:
            return getattr(self, n.op)(n.target, args, {})
        return convolve(args[0], module) if self._fast else convolve_laid_out(args[0], module)
