"""Which layers a net has in a given phase, level and set of stages."""

from __future__ import annotations

from collections.abc import Sequence

from caffe_compat.errors import CaffeCompatError, NetError, raise_together
from caffe_compat.proto import caffe_pb2 as pb
from caffe_compat.proto.marks import where


def net_state(phase: str = "TEST", *, stages: Sequence[str] = (), level: int = 0) -> pb.NetState:
    """Return the state message for a phase ("TRAIN" or "TEST"), stages and level."""
    if phase not in ("TRAIN", "TEST"):
        raise NetError("no such phase", field="phase", value=phase, hint="'TRAIN' or 'TEST'")
    return pb.NetState(phase=pb.TRAIN if phase == "TRAIN" else pb.TEST, stage=list(stages), level=level)


def meets(state: pb.NetState, rule: pb.NetStateRule) -> bool:
    """Tell whether `state` satisfies every clause that `rule` has."""
    return (
        (not rule.HasField("phase") or rule.phase == state.phase)
        and (not rule.HasField("min_level") or state.level >= rule.min_level)
        and (not rule.HasField("max_level") or state.level <= rule.max_level)
        and all(stage in state.stage for stage in rule.stage)
        and not any(stage in state.stage for stage in rule.not_stage)
    )


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
    out = pb.NetParameter()
    out.CopyFrom(net)
    out.ClearField("layer")
    out.state.CopyFrom(state)
    for layer in net.layer:
        if layer.include and layer.exclude:
            at = where(layer)
            problems.append(
                NetError(
                    "has both include and exclude rules",
                    file=at.file if at else None,
                    line=at.line if at else None,
                    layer=layer.name,
                    hint="keep one kind",
                )
            )
        elif included(layer, state):
            out.layer.add().CopyFrom(layer)
    raise_together(problems)
    return out
