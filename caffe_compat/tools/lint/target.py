"""The subject of the rules: a net as written, as upgraded, and in each phase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from caffe_compat.definition.filtering import net_state
from caffe_compat.definition.prepare import prepare
from caffe_compat.errors import CaffeCompatError
from caffe_compat.formats.extras import where
from caffe_compat.graph.graph import InputShapes, NetGraph
from caffe_compat.layers import REGISTRY, Source, facts
from caffe_compat.layers.base import Shape
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.tools.feeds import feed
from caffe_compat.tools.lint.flow import Flow, flow
from caffe_compat.tools.lint.rules import Finding, line_of


@dataclass
class State:
    """A net in one phase: its layers, filtered, as upgraded."""

    phase: str
    layers: Sequence[pb.LayerParameter]
    graph: NetGraph | None = None
    """With shapes; None where it cannot be built, for the `problems`, or a shape is not known."""
    problems: Sequence[CaffeCompatError] = ()

    @cached_property
    def flow(self) -> Flow:
        """Return which layers make and read each value."""
        return flow(self.layers)

    @property
    def shapes(self) -> Mapping[str, Shape]:
        """Return blob -> shape; empty where the net cannot be built."""
        return {} if self.graph is None else self.graph.shapes

    @cached_property
    def losses(self) -> list[int]:
        """Return the numbers of the layers with a loss weight that is not 0."""
        return [number for number, layer in enumerate(self.layers) if any(loss_weights(layer))]


@dataclass
class Subject:
    """A net to check, as written and as upgraded."""

    file: str
    raw: pb.NetParameter
    net: pb.NetParameter
    lines: Mapping[tuple[int, str], int]
    """The line of each field, see :func:`caffe_compat.tools.lint.rules.field_lines`."""
    base_dir: Path
    """Folder of the data, after the working directory."""
    forks: Sequence[str]
    """The forks of Caffe it is for, where its layers do not tell."""
    states: list[State] = field(default_factory=list)
    """TRAIN and TEST; TEST alone for a deploy definition."""

    def finding(
        self,
        rule: str,
        level: str,
        layer: pb.LayerParameter | None,
        text: tuple[str, str, str],
        at: str = "",
        **more: Any,
    ) -> Finding:
        """Return a finding (`text`: problem, why, hint) at the path `at` of a layer, or of the net."""
        origin = None if layer is None else where(layer)
        line = line_of(self.lines, origin.line if origin else 0, at)
        name = "" if layer is None else layer.name
        return Finding(rule, level, *text, file=origin.file if origin else self.file, line=line, layer=name, **more)


def loss_weights(layer: pb.LayerParameter) -> list[float]:
    """Return the loss weight of each top, a loss layer's default included."""
    facts = REGISTRY.get(layer.type)
    if layer.loss_weight:
        return list(layer.loss_weight)
    return [1.0] if facts is not None and facts.is_loss else []


def is_deploy(net: pb.NetParameter) -> bool:
    """Tell whether an upgraded net is for inference only: no data layer but Input, and no loss."""
    feeds = any(facts(layer.type).source in (Source.ARRAYS, Source.FILES) for layer in net.layer)
    return not feeds and not any(any(loss_weights(layer)) for layer in net.layer)


def build_states(
    subject: Subject, *, phases: Sequence[str], stages: Sequence[str], level: int, input_shapes: InputShapes
) -> None:
    """Filter and build a net in each phase."""
    for phase in phases:
        try:
            state_given = net_state(phase, stages=stages, level=level)
            prepared = prepare(subject.net, state_given, base_dir=subject.base_dir, fork=subject.forks)
        except CaffeCompatError as error:
            subject.states.append(State(phase, (), None, error.problems))
            continue
        state = State(phase, list(prepared.message.layer))
        subject.states.append(state)
        data = [layer for layer in state.layers if facts(layer.type).is_data]
        fed = {top for layer in data for top in layer.top}
        shapes = {blob: shape for blob, shape in input_shapes.items() if blob in fed}
        try:
            with feed(prepared, input_shapes=shapes) as fed_net:
                state.graph = fed_net.graph
        except CaffeCompatError as error:
            state.problems = error.problems
