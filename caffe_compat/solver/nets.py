"""Nets that feed themselves from their data layers, as a solver trains and tests them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, Protocol

import torch

from caffe_compat.build.net import CaffeNet, LearnableParam, build_net
from caffe_compat.build.weights import LoadReport, copy_weights, save_weights, share_weights
from caffe_compat.data import CRand, DataSource, ahead, open_sources
from caffe_compat.definition.prepare import PreparedNet
from caffe_compat.errors import SolverError
from caffe_compat.graph.graph import NetGraph, build_graph
from caffe_compat.runtime.closing import Closing
from caffe_compat.solver.debug import DebugPass, Say
from caffe_compat.solver.update import Learnable
from caffe_compat.solver.workers import Share, Workers

Criterion = Callable[[Mapping[str, torch.Tensor]], torch.Tensor]
CRITERION = "loss"  # what a criterion's value is called among the outputs
Outputs = tuple[dict[str, torch.Tensor], torch.Tensor]
"""Output blobs by name, and the total loss."""
_ALONE = Workers()


class SolverNet(Protocol):
    """The interface of nets to solvers: :class:`FedNet` is a torch module, pycaffe's net runs layer by layer."""

    @property
    def net(self) -> Any:
        """The net as callers of the solver see it."""

    @property
    def graph(self) -> NetGraph:
        """The graph it was built from."""

    @property
    def sources(self) -> Sequence[DataSource]:
        """The sources of its data."""

    @property
    def weights(self) -> Mapping[str, float]:
        """The loss weight of each output blob, 0 where it has none."""

    @property
    def params(self) -> Sequence[Learnable]:
        """The parameters in Caffe's order, shared ones once."""

    def close(self) -> None:
        """Close the sources of its data."""

    def clear(self) -> None:
        """Clear the gradients."""

    def watch(self, say: Say | None) -> None:
        """Log the mean of every blob in each pass (debug_info); None stops it."""

    def forward(self) -> Outputs:
        """Run the next batch."""

    def forward_backward(self) -> Outputs:
        """Run the next batch forward and backward; gradients are accumulated."""

    def share(self, other: Any) -> None:
        """Use the parameters of another such net in layers of the same names."""

    def load(self, path: str | PathLike[str]) -> LoadReport:
        """Copy weights by layer name."""

    def save(self, path: str | PathLike[str], fmt: str, *, diffs: bool) -> None:
        """Write the weights, as BINARYPROTO or HDF5."""


class FedNet(Closing):
    """A net, a source for every data layer, and the loss weight of each output blob, 0 where it has none.

    With a criterion its value, of the net's inputs and outputs, is the only output and the loss.
    """

    def __init__(
        self,
        net: PreparedNet,
        *,
        rng: CRand,
        seed: int | None,
        device: torch.device,
        exact: bool = False,
        fast: bool = True,
        workers: Workers = _ALONE,
        criterion: Criterion | None = None,
    ) -> None:
        self._criterion = criterion
        self._debug: DebugPass | None = None
        opened = open_sources(net.message, base_dir=net.base_dir, rng=rng)
        self.sources: list[DataSource] = [ahead(source, pin=device.type == "cuda") for source in opened]
        if workers.count > 1 and net.phase == "TRAIN":  # only the first one tests: it skips nothing
            self.sources = [Share(source, workers) for source in self.sources]
        shapes = {top: source.shapes[top] for source in self.sources for top in source.tops}
        graph = build_graph(net, input_shapes=shapes)
        unfed = [name for name in graph.inputs if name not in shapes]
        if unfed:
            problem = f"input {unfed[0]!r} of net {graph.name!r} has no data layer"
            raise SolverError(problem, code="field-missing", hint="a solver feeds nets from data layers only")
        self.net: CaffeNet = build_net(graph, seed=seed, exact=exact, fast=fast).to(device)
        self.device = device
        losses = dict(self.net.losses)
        self.weights: Mapping[str, float] = {name: losses.get(name, 0.0) for name in graph.outputs}
        if criterion is not None:
            if losses:
                problem = f"a criterion conflicts with the net's loss {next(iter(losses))!r}"
                raise SolverError(problem, code="conflict", hint="remove one of them")
            self.weights = {CRITERION: 1.0}

    def close(self) -> None:
        """Close the sources."""
        for source in self.sources:
            source.close()

    def forward(self) -> Outputs:
        """Run the next batch; return every output blob and the total loss."""
        inputs: dict[str, torch.Tensor] = {}
        for source in self.sources:
            inputs |= source.next()
        if self.device.type != "cpu":
            inputs = {name: value.to(self.device, non_blocking=True) for name, value in inputs.items()}
        outputs = self.net.forward_dict(inputs) if self._debug is None else self._debug.forward(inputs)
        if self._criterion is not None:
            loss = self._criterion({**inputs, **outputs})
            return {CRITERION: loss}, loss
        return {name: outputs[name] for name in self.weights}, self.net.total_loss(outputs)

    def forward_backward(self) -> Outputs:
        """Run the next batch forward and backward; gradients are accumulated."""
        outputs, loss = self.forward()
        if loss.requires_grad:
            torch.autograd.backward([loss])
        if self._debug is not None:
            self._debug.backward()
        return {name: blob.detach() for name, blob in outputs.items()}, loss.detach()

    def watch(self, say: Say | None) -> None:
        """Log the mean of every blob in each pass, layer by layer; None stops it."""
        self._debug = None if say is None else DebugPass(self.net, say)

    @property
    def graph(self) -> NetGraph:
        """The graph of the net."""
        return self.net.caffe

    @property
    def params(self) -> Sequence[LearnableParam]:
        """The parameters, shared ones once."""
        return self.net.params

    def clear(self) -> None:
        """Clear the gradients."""
        for item in self.params:
            item.tensor.grad = None

    def share(self, other: FedNet) -> None:
        """Use the parameters of another net in layers of the same names."""
        share_weights(self.net, other.net)

    def load(self, path: str | PathLike[str]) -> LoadReport:
        """Copy weights by layer name."""
        return copy_weights(self.net, path, unrelated="take")

    def save(self, path: str | PathLike[str], fmt: str, *, diffs: bool) -> None:
        """Write the weights."""
        save_weights(self.net, path, fmt, diffs=diffs)
