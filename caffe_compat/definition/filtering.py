"""Filter a net: the layers that it has in a phase, level and set of stages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from caffe_compat.definition.carry import layer_error
from caffe_compat.errors import CaffeCompatError, NetError, raise_together
from caffe_compat.formats.extras import copied
from caffe_compat.schema import caffe_pb2 as pb


def net_state(phase: str = "TEST", *, stages: Sequence[str] = (), level: int = 0) -> pb.NetState:
    """Return the state message for a phase ("TRAIN" or "TEST"), stages and level."""
    if phase not in ("TRAIN", "TEST"):
        raise NetError("unknown phase", code="name-unknown", field="phase", value=phase, hint="use TRAIN or TEST")
    return pb.NetState(phase=pb.TRAIN if phase == "TRAIN" else pb.TEST, stage=list(stages), level=level)


def unmet(state: pb.NetState, rule: pb.NetStateRule) -> tuple[str, str] | None:
    """Return the first clause of `rule` that `state` does not satisfy, as place and text of Caffe's log; else None.

    Caffe's own text calls a level above max_level "above the min_level".
    """
    if rule.HasField("phase") and rule.phase != state.phase:
        return "net.cpp:296", f"The NetState phase ({state.phase}) differed from the phase ({rule.phase})"
    if rule.HasField("min_level") and state.level < rule.min_level:
        return "net.cpp:306", f"The NetState level ({state.level}) is above the min_level ({rule.min_level})"
    if rule.HasField("max_level") and state.level > rule.max_level:
        return "net.cpp:316", f"The NetState level ({state.level}) is above the max_level ({rule.max_level})"
    for stage in rule.stage:
        if stage not in state.stage:
            return "net.cpp:332", f"The NetState did not contain stage '{stage}'"
    for stage in rule.not_stage:
        if stage in state.stage:
            return "net.cpp:347", f"The NetState contained a not_stage '{stage}'"
    return None


def meets(state: pb.NetState, rule: pb.NetStateRule) -> bool:
    """Tell whether `state` satisfies every clause that `rule` has."""
    return unmet(state, rule) is None


def rule_lines(net: pb.NetParameter, state: pb.NetState) -> Iterator[tuple[str, str]]:
    """Yield place and text of Caffe's log for each rule that leaves a layer out in `state`."""
    for layer in net.layer:
        for rule in layer.include or layer.exclude:
            clause = unmet(state, rule)
            if clause is None:
                break
            yield clause[0], f"{clause[1]} specified by a rule in layer {layer.name}"


def included(layer: pb.LayerParameter, state: pb.NetState) -> bool:
    """Tell whether a layer is part of the net in `state`: by its include rules, else unless an exclude rule is met."""
    if layer.include:
        return any(meets(state, rule) for rule in layer.include)
    return not any(meets(state, rule) for rule in layer.exclude)


def filter_net(net: pb.NetParameter, state: pb.NetState) -> pb.NetParameter:
    """Return the net with only the layers that belong to `state`, and `state` written into it.

    Source: Caffe's FilterNet and StateMeetsRule.
    """
    problems: list[CaffeCompatError] = []
    out = copied(net)
    out.ClearField("layer")
    out.state.CopyFrom(state)
    for layer in net.layer:
        if layer.include and layer.exclude:
            problem, hint = "has both include and exclude rules", "keep rules of one kind"
            problems.append(layer_error(layer, problem, hint=hint, code="conflict"))
        elif included(layer, state):
            out.layer.add().CopyFrom(layer)
    raise_together(problems)
    return out
