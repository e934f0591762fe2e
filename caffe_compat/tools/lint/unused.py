"""Rules about layers, blobs and parameters that have no use."""

from __future__ import annotations

from collections.abc import Iterator

from caffe_compat.definition.filtering import included, net_state
from caffe_compat.formats.extras import where
from caffe_compat.layers import REGISTRY, Gradient, Layer, facts
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.tools.lint.rules import Finding
from caffe_compat.tools.lint.target import State, Subject, is_deploy, loss_weights


def unused_tops(subject: Subject) -> Iterator[Finding]:
    """Yield blobs that no layer reads, in training or from a data layer."""
    for state in subject.states:
        for value in state.flow.values():
            layer = state.layers[value.maker]
            facts = REGISTRY.get(layer.type)
            weights = loss_weights(layer)
            counts = value.index < len(weights) and weights[value.index]
            if value.readers or counts or facts is None or facts.is_loss or facts.is_result:
                continue
            fed = facts.is_data and len(layer.top) > 1
            if not fed and (state.phase != "TRAIN" or not state.losses):
                continue
            text = (
                f"no layer reads its top {value.blob!r}",
                "so it is an output, computed and logged in every iteration",
                "remove it, read it, or end it in a Silence layer",
            )
            yield subject.finding("unused-top", "warning", layer, text, "top", phase=state.phase)


def never_built(subject: Subject) -> Iterator[Finding]:
    """Yield layers that neither phase includes."""
    both = [net_state(phase, stages=subject.net.state.stage) for phase in ("TRAIN", "TEST")]
    for layer in subject.net.layer:
        if any(included(layer, state) for state in both):
            continue
        stages = sorted({stage for rule in layer.include for stage in rule.stage})
        possible = any(_possible(rule) for rule in layer.include)
        if possible:
            needs = f"stage {', '.join(stages)}" if stages else "a level"
            text = (
                f"neither phase includes it without {needs}",
                "Caffe skips it silently",
                f"run with --stage={','.join(stages)}" if stages else "run with --level",
            )
        else:
            text = (
                "no phase can include it",
                "its rules contradict each other, or exclude both phases",
                "correct the rules",
            )
        yield subject.finding("never-built", "note" if possible else "warning", layer, text, "include")


def _possible(rule: pb.NetStateRule) -> bool:
    if set(rule.stage) & set(rule.not_stage):
        return False
    return not (rule.HasField("min_level") and rule.HasField("max_level") and rule.min_level > rule.max_level)


def no_gradient(subject: Subject) -> Iterator[Finding]:
    """Yield layers with learning rates that no loss depends on, and training nets without a loss."""
    for state in subject.states:
        if state.phase != "TRAIN" or is_deploy(subject.net):
            continue
        learns = [number for number, layer in enumerate(state.layers) if _learns(layer)]
        if learns and not state.losses:
            text = (
                "the net has parameters but no loss",
                "no gradient is computed, so training only applies weight decay",
                "add a loss layer, or a loss_weight",
            )
            yield subject.finding("no-loss", "warning", None, text, phase=state.phase)
            continue
        reached = _reached(state)
        for number in learns:
            if number not in reached:
                text = (
                    "its parameters have a learning rate, but no loss depends on them",
                    "Caffe skips their backward pass, so training only applies weight decay",
                    "connect it to a loss, or set lr_mult: 0",
                )
                yield subject.finding("no-gradient", "warning", state.layers[number], text, phase=state.phase)


def _learns(layer: pb.LayerParameter) -> bool:
    facts = REGISTRY.get(layer.type)
    if facts is None or type(facts).blobs is Layer.blobs or facts.only_statistics:
        return False
    return not layer.param or any(param.lr_mult for param in layer.param)


def _reached(state: State) -> set[int]:
    """Return the indices of the layers that the gradient of a loss reaches."""
    reached = set(state.losses)
    for number in range(len(state.layers) - 1, -1, -1):
        layer = state.layers[number]
        if number not in reached or facts(layer.type).gradient is not Gradient.PASSES:
            continue
        for index, value in enumerate(state.flow.bottoms[number]):
            if value is not None and (index >= len(layer.propagate_down) or layer.propagate_down[index]):
                reached.add(value.maker)
    return reached


def duplicate_names(subject: Subject) -> Iterator[Finding]:
    """Yield layers that share their name with another layer of the net."""
    for state in subject.states:
        seen: dict[str, int] = {}
        for layer in state.layers:
            at = where(layer)
            if layer.name in seen:
                text = (
                    f"another layer has this name (line {seen[layer.name]})",
                    "weights are copied by name: the first layer gets them, the second none",
                    "rename it",
                )
                yield subject.finding("duplicate-name", "warning", layer, text, "name", phase=state.phase)
            seen.setdefault(layer.name, at.line if at else 0)
