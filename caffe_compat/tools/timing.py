"""How long each layer takes, forward and backward, as ``caffe time`` measures it: layer by layer, nothing fused.

Facts from BVLC Caffe 9b89154, tools/caffe.cpp and util/benchmark.cpp: one pass before the clock starts; every layer is
timed by itself, data layers too, on a GPU with events that are waited for; the backward pass of a layer is timed
whether or not the loss depends on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from caffe_compat.build.net import CaffeNet
from caffe_compat.graph.graph import Node
from caffe_compat.tools.feeds import Feed


@dataclass
class LayerTime:
    """Means over all iterations, in milliseconds."""

    name: str
    type: str
    forward_ms: float = 0.0
    backward_ms: float = 0.0


@dataclass
class Timing:
    """What was measured; means over all iterations, in milliseconds.

    Attributes
    ----------
    layers : in the net's order; Split layers stand where Caffe inserts them.
    forward_ms, backward_ms : of the passes, all layers one by one.
    forward_backward_ms : of an iteration.
    total_ms : of all iterations.
    net_forward_ms, net_forward_backward_ms : of the net as one torch module, with its layers fused, data not included.
    """

    iterations: int
    layers: list[LayerTime]
    loss: float = 0.0
    forward_ms: float = 0.0
    backward_ms: float = 0.0
    forward_backward_ms: float = 0.0
    total_ms: float = 0.0
    net_forward_ms: float = 0.0
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


@dataclass
class _Pass:
    """One forward and backward pass, layer by layer."""

    net: CaffeNet
    feed: Feed
    device: torch.device
    values: dict[str, torch.Tensor] = field(default_factory=dict)
    grads: dict[str, torch.Tensor] = field(default_factory=dict)
    seen: dict[str, tuple[Sequence[torch.Tensor], Sequence[torch.Tensor]]] = field(default_factory=dict)

    def forward(self, node: Node) -> None:
        """Compute the tops of a layer from blobs that know nothing of the layers above."""
        if node.layer.is_data:
            self.values |= self.data(node.tops)
            return
        if node.type == "Split":
            self.values |= dict.fromkeys(node.tops, self.values[node.bottoms[0]])
            return
        if not node.tops:
            return
        down = node.spec.param.propagate_down
        bottoms = [self.values[blob] for blob in node.bottoms]
        apart = [x.detach().requires_grad_(x.requires_grad and (not down or down[i])) for i, x in enumerate(bottoms)]
        made = self.net.get_submodule(node.key)(*apart)
        tops = made if isinstance(made, tuple) else (made,)
        self.seen[node.key] = (apart, tops)
        self.values |= dict(zip(node.tops, tops, strict=True))

    def data(self, tops: Sequence[str]) -> Mapping[str, torch.Tensor]:
        """Return the next batch of one data layer, or made-up values."""
        batch: dict[str, torch.Tensor] = {}
        for source in self.feed.sources:
            if set(source.tops) & set(tops):
                batch |= source.next()
        if not batch:
            made_up = self.feed.made_up_batch()
            batch = {top: made_up[top] for top in tops}
        return {blob: value.to(self.device, non_blocking=True) for blob, value in batch.items()}

    def backward(self, node: Node) -> None:
        """Compute the gradients of a layer's bottoms and parameters from those of its tops."""
        if node.type == "Split":
            parts = [self.grads.pop(top) for top in node.tops if top in self.grads]
            parts += [
                torch.full_like(self.values[top], weight)
                for top, weight in zip(node.tops, node.loss_weights, strict=True)
                if weight
            ]
            if parts:
                self.grads[node.bottoms[0]] = torch.stack(parts).sum(0) if len(parts) > 1 else parts[0]
            return
        bottoms, tops = self.seen.pop(node.key, ((), ()))
        starts = (
            [
                (top, self._start(blob, top, weight))
                for blob, top, weight in zip(node.tops, tops, node.loss_weights, strict=True)
                if top.requires_grad
            ]
            if tops
            else []
        )
        module: nn.Module | None = self.net.get_submodule(node.key) if tops else None
        wanted = [x for x in bottoms if x.requires_grad]
        targets = wanted + ([p for p in module.parameters() if p.requires_grad] if module else [])
        if not starts or not targets:
            return
        found = torch.autograd.grad(
            [top for top, _ in starts], targets, [grad for _, grad in starts], allow_unused=True
        )
        names = [blob for blob, x in zip(node.bottoms, bottoms, strict=True) if x.requires_grad]
        for blob, grad in zip(names, found[: len(wanted)], strict=True):
            if grad is not None:
                self.grads[blob] = grad

    def _start(self, blob: str, top: torch.Tensor, weight: float) -> torch.Tensor:
        """Return the gradient of a top: its readers', its loss weight, or, in a net without losses, ones."""
        if blob in self.grads:
            return self.grads.pop(blob)
        if weight or not self.net.losses:
            return torch.full_like(top, weight or 1.0)
        return torch.zeros_like(top)

    def loss(self) -> float:
        """Return the loss of the last forward pass."""
        terms = [
            float(self.values[blob].detach().sum()) * weight for blob, weight in self.net.losses if blob in self.values
        ]
        return sum(terms)


def time_net(
    net: CaffeNet,
    feed: Feed,
    iterations: int,
    *,
    device: torch.device,
    each: Callable[[int, float], None] = lambda _number, _ms: None,
    begin: Callable[[float], None] = lambda _loss: None,
) -> Timing:
    """Time every layer of a net.

    Parameters
    ----------
    net : built from ``feed.graph``, on `device`.
    feed : what it is run on.
    iterations : forward and backward passes.
    each : called with the number (from 1) and the milliseconds of every iteration.
    begin : called with the loss of the pass before the clock starts.
    """
    nodes = net.caffe.nodes
    run = _Pass(net, feed, device)
    timing = Timing(iterations, [LayerTime(node.name, node.type) for node in nodes])
    for node in nodes:
        run.forward(node)
    timing.loss = run.loss()
    for node in reversed(nodes):
        run.backward(node)
    begin(timing.loss)
    clocks = [_Clock(device) for _ in range(3)]
    for number in range(iterations):
        clocks[0].start()
        clocks[1].start()
        for node, row in zip(nodes, timing.layers, strict=True):
            clocks[2].start()
            run.forward(node)
            row.forward_ms += clocks[2].stop() / iterations
        timing.forward_ms += clocks[1].stop() / iterations
        clocks[1].start()
        for node, row in zip(reversed(nodes), reversed(timing.layers), strict=True):
            clocks[2].start()
            run.backward(node)
            row.backward_ms += clocks[2].stop() / iterations
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
            found = net.forward_dict(inputs)
            return net.total_loss(found) if net.losses else torch.stack([x.sum() for x in found.values()]).sum()

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
