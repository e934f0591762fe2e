"""Rules about layers that overwrite their bottoms.

Facts from BVLC Caffe 9b89154, the Backward_cpu of each layer: which layers read their bottom, which their top, and
which write their bottom's gradient before they have read their top's (in place, the same memory).
"""

from __future__ import annotations

from collections.abc import Iterator

from caffe_compat.layers import Reads, Source, facts
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.tools.lint.flow import Flow, Value
from caffe_compat.tools.lint.rules import Finding
from caffe_compat.tools.lint.target import State, Subject


def in_place(subject: Subject) -> Iterator[Finding]:
    """Yield in-place layers that overwrite values that are still needed."""
    for state in subject.states:
        for number, layer in enumerate(state.layers):
            if facts(layer.type).identity_in_test and state.phase == "TEST":
                continue
            for value in state.flow.overwrites(number):
                yield from _overwritten(subject, state, number, value)


def _overwritten(subject: Subject, state: State, number: int, value: Value) -> Iterator[Finding]:
    layer, flow = state.layers[number], state.flow
    source = state.layers[value.place.maker]
    if why := facts(source.type).stale_reason(source):
        level = "note" if facts(source.type).source is Source.CALLER else "warning"
        text = (f"overwrites {value.place.blob!r} of layer {source.name!r} ({source.type})", why, _own_top(layer))
        yield subject.finding("in-place-input", level, layer, text, "top", phase=state.phase)
    layer_type = facts(layer.type)
    if layer_type.in_place_fault and (state.phase == "TRAIN" or layer_type.clears_in_place):
        text = (
            f"{layer.type} works in place",
            f"{layer_type.in_place_fault}: Caffe's result is wrong, this engine's is correct",
            _own_top(layer),
        )
        yield subject.finding("in-place", "warning", layer, text, "top", phase=state.phase)
    for other, reason in _victims(flow, number, value, training=state.phase == "TRAIN"):
        victim = f"layer {state.layers[other].name!r} ({state.layers[other].type})"
        text = (
            f"overwrites {value.blob!r}, which {victim} {reason}",
            "Caffe silently computes with the overwritten values; this engine does not",
            _own_top(layer),
        )
        yield subject.finding("in-place", "warning", layer, text, "top", phase=state.phase)


def _victims(flow: Flow, number: int, overwritten: Value, *, training: bool) -> Iterator[tuple[int, str]]:
    """Yield the layers that need the values in the memory that layer `number` overwrites, and why."""
    before = flow.since_written(overwritten, number)
    content = before[0]
    for value in before:
        for reader in value.readers:
            if reader > number:
                yield reader, "reads afterwards"
                continue
            layer = flow.layers[reader]
            if training and reader < number and value.blob not in layer.top and Reads.BOTTOM in _reads(layer):
                yield reader, "needs for its backward pass"
    maker, keeps_sign = flow.layers[content.maker], facts(flow.layers[number].type).keeps_sign
    if training and (Reads.TOP in _reads(maker) or (_reads_sign(maker) and not keeps_sign)):
        yield content.maker, "made and needs for its backward pass"


def _reads(layer: pb.LayerParameter) -> Reads:
    return facts(layer.type).backward_reads(layer)


def _reads_sign(layer: pb.LayerParameter) -> bool:
    """Tell whether a layer works in place and its backward pass reads the signs of its result."""
    layer_type, in_place = facts(layer.type), list(layer.bottom) == list(layer.top)
    return in_place and layer_type.rereads_in_place and not layer_type.in_place_fault


def _own_top(layer: pb.LayerParameter) -> str:
    return f"give it another top, such as {layer.name!r}"
