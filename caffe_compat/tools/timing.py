"""Time each layer forward and backward as ``caffe time`` does: layer by layer, nothing fused.

Facts from BVLC Caffe 9b89154, tools/caffe.cpp and util/benchmark.cpp: one pass runs before the clock starts; every
layer is timed separately, data layers too, on a GPU with synchronized events; the backward pass of a layer is timed
even if the loss does not depend on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from caffe_compat.build.executor import Executor, Hooks, is_computed
from caffe_compat.build.net import CaffeNet
from caffe_compat.graph.graph import LayerNode
from caffe_compat.tools.feeds import Feed


@dataclass
class LayerTime:
    """The times of a layer: means over all iterations, in milliseconds."""

    name: str
    type: str
    forward_ms: float = 0.0
    backward_ms: float = 0.0


@dataclass
class Timing:
    """The times of a net: means over all iterations, in milliseconds."""

    iterations: int
    layers: list[LayerTime]
    """In the net's order, with the Split layers that Caffe inserts."""
    loss: float = 0.0
    forward_ms: float = 0.0
    """Of the passes layer by layer, as `backward_ms`."""
    backward_ms: float = 0.0
    forward_backward_ms: float = 0.0
    """Of an iteration."""
    total_ms: float = 0.0
    """Of all iterations."""
    net_forward_ms: float = 0.0
    """Of the net as one torch module, with fused layers, without data; as the next."""
    net_forward_backward_ms: float = 0.0


class _Clock:
    """Milliseconds on the CPU's clock, or between two events of a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._device = device

    def start(self) -> None:
        if self._cuda:
            self._first = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            self._first.record(torch.cuda.current_stream(self._device))
        else:
            self._since = time.perf_counter()

    def stop(self) -> float:
        if not self._cuda:
            return 1000 * (time.perf_counter() - self._since)
        last = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        last.record(torch.cuda.current_stream(self._device))
        last.synchronize()
        return float(self._first.elapsed_time(last))


class LayerwisePass(Hooks):
    """Forward and backward passes, layer by layer, each layer apart from those above it."""

    def __init__(self, net: CaffeNet, feed: Feed, device: torch.device) -> None:
        self._net, self._feed, self._device = net, feed, device
        self._executor = Executor(net, [blob for blob, _ in net.losses], self)
        self._clock = _Clock(device)
        self._record: Callable[[str, float], None] = lambda _key, _ms: None
        self._layers: dict[str, tuple[Sequence[torch.Tensor], Sequence[torch.Tensor]]] = {}
        self.grads: dict[str, torch.Tensor] = {}

    def forward(self, record: Callable[[str, float], None] | None = None) -> float:
        """Run a forward pass; return the loss. `record` is called with the key and the milliseconds of each layer."""
        self._record = record or (lambda _key, _ms: None)
        losses = self._executor.forward({})
        return sum(float(losses[blob].detach().sum()) * weight for blob, weight in self._net.losses)

    def before(self, node: LayerNode) -> None:  # noqa: ARG002
        """Start the clock."""
        self._clock.start()

    def feed(self, node: LayerNode, inputs: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:  # noqa: ARG002
        """Return the next batch of one data layer, or made-up values."""
        batch: dict[str, torch.Tensor] = {}
        for source in self._feed.sources:
            if set(source.tops) & set(node.tops):
                batch |= source.next()
        if not batch:
            made_up = self._feed.made_up_batch()
            batch = {top: made_up[top] for top in node.tops}
        return {blob: value.to(self._device, non_blocking=True) for blob, value in batch.items()}

    def bottom(self, node: LayerNode, index: int, value: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        """Return a bottom that knows nothing of the layers above."""
        return value.detach().requires_grad_(value.requires_grad)

    def after(self, node: LayerNode, bottoms: Sequence[torch.Tensor], tops: Sequence[torch.Tensor]) -> None:
        """Stop the clock; keep what the backward pass needs."""
        self._record(node.key, self._clock.stop())
        self._layers[node.key] = (bottoms, tops)

    def backward(self, node: LayerNode) -> None:
        """Compute the gradients of a layer's bottoms and parameters from those of its tops."""
        bottoms, tops = self._layers.pop(node.key)
        starts = [
            (top, self._start(blob, top, weight))
            for blob, top, weight in zip(node.tops, tops, node.loss_weights, strict=True)
            if top.requires_grad
        ]
        inputs = {blob: x for blob, x in zip(node.bottoms, bottoms, strict=True) if x.requires_grad}
        params = self._net.get_submodule(node.key).parameters() if is_computed(node) else ()
        targets = [*inputs.values(), *(p for p in params if p.requires_grad)]
        if not starts or not targets:
            return
        grads: Sequence[torch.Tensor | None] = torch.autograd.grad(
            [top for top, _ in starts], targets, [grad for _, grad in starts], allow_unused=True
        )
        self.grads |= {blob: grad for blob, grad in zip(inputs, grads, strict=False) if grad is not None}

    def _start(self, blob: str, top: torch.Tensor, weight: float) -> torch.Tensor:
        """Return the gradient of a top: its readers', its loss weight, or, in a net without losses, ones."""
        if blob in self.grads:
            return self.grads.pop(blob)
        if weight or not self._net.losses:
            return torch.full_like(top, weight or 1.0)
        return torch.zeros_like(top)


def time_net(
    net: CaffeNet,
    feed: Feed,
    iterations: int,
    *,
    device: torch.device,
    each: Callable[[int, float], None] = lambda _number, _ms: None,
    begin: Callable[[float], None] = lambda _loss: None,
) -> Timing:
    """Time every layer; `begin` gets the loss of the first pass, `each` the number and milliseconds of a pass."""
    nodes = net.caffe.nodes
    passes = LayerwisePass(net, feed, device)
    timing = Timing(iterations, [LayerTime(node.name, node.type) for node in nodes])
    rows = {node.key: row for node, row in zip(nodes, timing.layers, strict=True)}

    def record(key: str, ms: float) -> None:
        rows[key].forward_ms += ms / iterations

    timing.loss = passes.forward()
    for node in reversed(nodes):
        passes.backward(node)
    begin(timing.loss)
    clocks = [_Clock(device) for _ in range(3)]
    for number in range(iterations):
        clocks[0].start()
        clocks[1].start()
        passes.forward(record)
        timing.forward_ms += clocks[1].stop() / iterations
        clocks[1].start()
        for node in reversed(nodes):
            clocks[2].start()
            passes.backward(node)
            rows[node.key].backward_ms += clocks[2].stop() / iterations
        timing.backward_ms += clocks[1].stop() / iterations
        lapse = clocks[0].stop()
        timing.total_ms += lapse
        each(number + 1, lapse)
    timing.forward_backward_ms = timing.total_ms / iterations
    _time_whole(net, feed, iterations, timing, device)
    return timing


def _time_whole(net: CaffeNet, feed: Feed, iterations: int, timing: Timing, device: torch.device) -> None:
    """Time the net as one module, on one batch."""
    inputs = {blob: value.to(device) for blob, value in feed.next().items()}
    learns = any(item.propagate for item in net.params)

    def forward(*, graph: bool) -> torch.Tensor:
        with torch.set_grad_enabled(graph):
            outputs = net.forward_dict(inputs)
            return net.total_loss(outputs) if net.losses else torch.stack([x.sum() for x in outputs.values()]).sum()

    def backward() -> None:
        total = forward(graph=True)
        if total.requires_grad:
            total.backward()  # type: ignore[no-untyped-call]

    clock = _Clock(device)
    forward(graph=False)
    clock.start()
    for _ in range(iterations):
        forward(graph=False)
    timing.net_forward_ms = clock.stop() / iterations
    if learns:
        backward()
        clock.start()
        for _ in range(iterations):
            backward()
        timing.net_forward_backward_ms = clock.stop() / iterations
        net.zero_grad()
