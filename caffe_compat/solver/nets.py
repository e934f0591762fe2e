"""Which nets a solver trains and tests, by Caffe's rules, and nets that feed themselves from their data layers.

Facts from BVLC Caffe 9b89154, solver.cpp: exactly one of net, net_param, train_net, train_net_param; test nets from
test_net_param, then test_net, then as often from the generic net (net or net_param) as test_iter values remain; the
state of a net is the phase, then what the net says itself, then train_state or test_state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import torch

from caffe_compat.build.load_report import LoadReport
from caffe_compat.build.net import CaffeNet, LearnableParam, build_net
from caffe_compat.build.weights import copy_weights, save_weights, share_weights
from caffe_compat.data import DataSource, Randomness, ahead, open_sources
from caffe_compat.data.source import find_input, looked_in
from caffe_compat.definition.prepare import PreparedNet, prepare
from caffe_compat.errors import CaffeCompatError, SolverError, raise_together
from caffe_compat.formats.files import read_net
from caffe_compat.graph.graph import NetGraph, build_graph
from caffe_compat.layers import Source, facts
from caffe_compat.runtime.closing import Closing
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver.debug import DebugPass, Say
from caffe_compat.solver.workers import Share, Workers

Criterion = Callable[[Mapping[str, torch.Tensor]], torch.Tensor]
CRITERION = "loss"  # what a criterion's value is called among the outputs
_ALONE = Workers()
_TRAIN_FIELDS = ("net", "net_param", "train_net", "train_net_param")


@dataclass(frozen=True)
class SolverDefinition:
    """A net of a solver before it is built.

    Attributes
    ----------
    net : the prepared definition.
    origin : where it came from, in the words of Caffe's log.
    """

    net: PreparedNet
    origin: str


def train_definition(param: pb.SolverParameter, base_dir: Path, fork: str | Sequence[str] | None) -> SolverDefinition:
    """Return the net to train; `fork` as for :func:`caffe_compat.definition.prepare.prepare`.

    Raises
    ------
    SolverError
        where none or several are given, or the file does not exist.
    """
    given = [name for name in _TRAIN_FIELDS if param.HasField(name)]
    if len(given) != 1:
        problem = f"gives {' and '.join(given)}" if given else "gives no net to train"
        raise SolverError(f"the solver {problem}", hint=f"exactly one of {', '.join(_TRAIN_FIELDS)}")
    (name,) = given
    if name.endswith("_param"):
        net, folder, origin = getattr(param, name), base_dir, f"specified in {name}."
    else:
        net, folder, origin = _read(name, getattr(param, name), base_dir)
        origin = f"from {name} file: {origin}"
    prepared = prepare_in_state(net, "TRAIN", param.train_state, base_dir=folder, fork=fork)
    return SolverDefinition(prepared, f"Creating training net {origin}")


def test_definitions(
    param: pb.SolverParameter, base_dir: Path, fork: str | Sequence[str] | None
) -> list[SolverDefinition]:
    """Return the nets to test with, in Caffe's order; `fork` as for :func:`caffe_compat.definition.prepare.prepare`.

    Raises
    ------
    SolverError
        where test_iter, test_state or test_interval do not fit the nets.
    """
    nets = [(net, base_dir, "test_net_param") for net in param.test_net_param]
    for name in param.test_net:
        net, folder, file = _read("test_net", name, base_dir)
        nets.append((net, folder, f"test_net file: {file}"))
    generic = param.HasField("net") or param.HasField("net_param")
    _check_counts(param, len(nets), generic=generic)
    for _ in range(len(param.test_iter) - len(nets)):
        if param.HasField("net"):
            net, folder, file = _read("net", param.net, base_dir)
            nets.append((net, folder, f"net file: {file}"))
        else:
            nets.append((param.net_param, base_dir, "net_param"))
    states = param.test_state or [pb.NetState()] * len(nets)
    return [
        SolverDefinition(
            prepare_in_state(net, "TEST", state, base_dir=folder, fork=fork),
            f"Creating test net (#{number}) specified by {origin}",
        )
        for number, ((net, folder, origin), state) in enumerate(zip(nets, states, strict=True))
    ]


def _check_counts(param: pb.SolverParameter, named: int, *, generic: bool) -> None:
    problems: list[CaffeCompatError] = []
    count = len(param.test_iter)
    if count < named or (count > named and not generic):
        problem = f"{named} test nets are given and {count} values of test_iter"
        problems.append(SolverError(problem, field="test_iter", hint="one value for each test net"))
    if any(value < 1 for value in param.test_iter):
        problems.append(SolverError("must be at least 1", field="test_iter", value=min(param.test_iter)))
    if param.test_state and len(param.test_state) != count:
        problem = f"given {len(param.test_state)} times for {count} test nets"
        problems.append(SolverError(problem, field="test_state", hint="leave it out or give one for each"))
    if count and param.test_interval <= 0:
        problems.append(
            SolverError("there are test nets, so it must be positive", field="test_interval", value=param.test_interval)
        )
    raise_together(problems)


def _read(field: str, name: str, base_dir: Path) -> tuple[pb.NetParameter, Path, str]:
    path = find_input(name, base_dir)
    if path is None or not path.is_file():
        hint = f"{looked_in(base_dir)}; --net=FILE trains another"
        raise SolverError("no such file", field=field, value=name, hint=hint)
    return read_net(path), path.parent, str(path)


def prepare_in_state(
    net: str | PathLike[str] | pb.NetParameter,
    phase: str,
    state: pb.NetState,
    *,
    base_dir: Path | None = None,
    fork: str | Sequence[str] | None = None,
) -> PreparedNet:
    """Return a net prepared as solvers do it: the net's own state ranks above the phase and below `state`."""
    message = net if isinstance(net, pb.NetParameter) else read_net(net)
    if base_dir is None and not isinstance(net, pb.NetParameter):
        base_dir = Path(net).parent
    merged = pb.NetState(phase=phase)
    merged.MergeFrom(message.state)
    merged.MergeFrom(state)
    return prepare(message, merged, base_dir=base_dir, fork=fork)


def redirect(prepared: PreparedNet, source: str) -> PreparedNet:
    """Return the net with the source of its only data layer replaced.

    Raises
    ------
    SolverError
        where the net has no data layer or several.
    """
    net = pb.NetParameter()
    net.CopyFrom(prepared.message)
    layers = [layer for layer in net.layer if facts(layer.type).source is Source.FILES]
    if len(layers) != 1:
        names = ", ".join(layer.name for layer in layers) or "none"
        raise SolverError(
            "a source is given for a net without exactly one data layer that reads files", value=source, hint=names
        )
    for described, message in layers[0].ListFields():
        if described.message_type is not None and "source" in described.message_type.fields_by_name:
            message.source = source
    return replace(prepared, message=net)


class FedNet(Closing):
    """A net and what feeds it.

    Attributes
    ----------
    net : the module.
    sources : one for every data layer.
    weights : the loss weight of each output blob, 0 where it has none.

    Notes
    -----
    With a criterion its value, of the net's inputs and outputs, is the only output and the loss.
    """

    def __init__(
        self,
        net: PreparedNet,
        *,
        rng: Randomness,
        seed: int | None,
        device: torch.device,
        exact: bool = False,
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
            hint = "a solver's nets take all their data from data layers"
            raise SolverError(f"nothing feeds the input {unfed[0]!r} of net {graph.name!r}", hint=hint)
        self.net: CaffeNet = build_net(graph, seed=seed, exact=exact).to(device)
        self.device = device
        losses = dict(self.net.losses)
        self.weights: Mapping[str, float] = {name: losses.get(name, 0.0) for name in graph.outputs}
        if criterion is not None:
            if losses:
                hint = "leave out either"
                raise SolverError(f"a criterion and the loss layer of {next(iter(losses))!r} are given", hint=hint)
            self.weights = {CRITERION: 1.0}

    def close(self) -> None:
        """Close the sources."""
        for source in self.sources:
            source.close()

    def forward(self) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Run the next batch; return every output blob and the total loss."""
        inputs: dict[str, torch.Tensor] = {}
        for source in self.sources:
            inputs |= source.next()
        if self.device.type != "cpu":
            inputs = {name: value.to(self.device, non_blocking=True) for name, value in inputs.items()}
        found = self.net.forward_dict(inputs) if self._debug is None else self._debug.forward(inputs)
        if self._criterion is not None:
            loss = self._criterion({**inputs, **found})
            return {CRITERION: loss}, loss
        return {name: found[name] for name in self.weights}, self.net.total_loss(found)

    def forward_backward(self) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Run the next batch both ways; gradients add to those there are."""
        outputs, loss = self.forward()
        if loss.requires_grad:
            torch.autograd.backward([loss])
        if self._debug is not None:
            self._debug.backward()
        return {name: blob.detach() for name, blob in outputs.items()}, loss.detach()

    def watch(self, say: Say | None) -> None:
        """Write the mean of every blob to the log in each pass, layer by layer; None: no longer."""
        self._debug = None if say is None else DebugPass(self.net, say)

    @property
    def graph(self) -> NetGraph:
        """The graph of the net."""
        return self.net.caffe

    @property
    def params(self) -> Sequence[LearnableParam]:
        """The parameters, shared ones once."""
        return self.net.params

    def state(self) -> Iterable[torch.Tensor]:
        """Return everything that processes which train together hold alike."""
        return self.net.state_dict().values()

    def clear(self) -> None:
        """Forget the gradients."""
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
