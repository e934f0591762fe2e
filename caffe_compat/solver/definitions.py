"""The nets that a solver trains and tests, by Caffe's rules.

Facts from BVLC Caffe 9b89154, solver.cpp: exactly one of net, net_param, train_net, train_net_param; test nets from
test_net_param, then test_net, then as often from the generic net (net or net_param) as test_iter values remain; the
state of a net is the phase, overridden by the net's own state, overridden by train_state or test_state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

from caffe_compat.data.source import find_input, looked_in
from caffe_compat.definition.prepare import PreparedNet, prepare
from caffe_compat.errors import CaffeCompatError, SolverError, raise_together
from caffe_compat.formats.extras import copied
from caffe_compat.formats.files import read_net
from caffe_compat.layers import Source, facts
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver.detection import detection_settings, foreign_fields
from caffe_compat.solver.policy import check_policy
from caffe_compat.solver.rules import make_rule

_TRAIN_FIELDS = ("net", "net_param", "train_net", "train_net_param")


@dataclass(frozen=True)
class SolverDefinition:
    """A net of a solver before it is built, and where it came from, as Caffe logs it."""

    net: PreparedNet
    origin: str


def check_solver(param: pb.SolverParameter) -> None:
    """Refuse a solver definition that cannot run, with all problems in one error."""
    problems: list[CaffeCompatError] = foreign_fields(param)
    for name, least in (("average_loss", 1), ("display", 0), ("snapshot", 0), ("max_iter", 0), ("test_interval", 0)):
        if getattr(param, name) < least:
            problems.append(
                SolverError(f"must be at least {least}", code="out-of-range", field=name, value=getattr(param, name))
            )
    for check in (check_policy, make_rule, detection_settings):
        try:
            check(param)
        except CaffeCompatError as error:
            problems += error.problems
    raise_together(problems)


def train_definition(param: pb.SolverParameter, base_dir: Path, fork: str | Sequence[str] | None) -> SolverDefinition:
    """Return the net to train; `fork` as for :func:`caffe_compat.definition.prepare.prepare`."""
    given = [name for name in _TRAIN_FIELDS if param.HasField(name)]
    if len(given) != 1:
        problem = f"the solver names {' and '.join(given)}" if given else "the solver names no net to train"
        hint = f"give exactly one of {', '.join(_TRAIN_FIELDS)}"
        raise SolverError(problem, code="conflict" if given else "field-missing", hint=hint)
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
    """Return the nets to test with, in Caffe's order; `fork` as for :func:`caffe_compat.definition.prepare.prepare`."""
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
        problem = f"needs one value per test net ({named}), got {count}"
        problems.append(SolverError(problem, code="wrong-count", field="test_iter"))
    if any(value < 1 for value in param.test_iter):
        problems.append(
            SolverError("must be at least 1", code="out-of-range", field="test_iter", value=min(param.test_iter))
        )
    if param.test_state and len(param.test_state) != count:
        problem = f"needs one state per test net ({count}) or none, got {len(param.test_state)}"
        problems.append(SolverError(problem, code="wrong-count", field="test_state"))
    if count and param.test_interval <= 0:
        problem = "must be positive where test nets are given"
        problems.append(SolverError(problem, code="out-of-range", field="test_interval", value=param.test_interval))
    raise_together(problems)


def _read(field: str, name: str, base_dir: Path) -> tuple[pb.NetParameter, Path, str]:
    path = find_input(name, base_dir)
    if path is None or not path.is_file():
        hint = f"{looked_in(base_dir)}; pass --net=FILE to train another net"
        raise SolverError("no such file", code="file-missing", field=field, value=name, hint=hint)
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
    """Return the net with the source of its only data layer that reads files replaced."""
    net = copied(prepared.message)
    layers = [layer for layer in net.layer if facts(layer.type).source is Source.FILES]
    if len(layers) != 1:
        names = ", ".join(layer.name for layer in layers) or "none"
        problem = f"needs a net with one data layer that reads files, got {len(layers)}: {names}"
        raise SolverError(problem, code="wrong-count", value=source)
    for described, message in layers[0].ListFields():
        if described.message_type is not None and "source" in described.message_type.fields_by_name:
            message.source = source
    return replace(prepared, message=net)
