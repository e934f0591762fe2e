"""Rules about layers that overwrite their bottoms.

Facts from BVLC Caffe 9b89154, the Backward_cpu of each layer: which read their bottom, which their top, and which write
their bottom's gradient before they have read their top's (the same memory, in place).
"""

from __future__ import annotations

from collections.abc import Iterator

from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.tools.lint.flow import Flow, Value
from caffe_compat.tools.lint.rules import Finding
from caffe_compat.tools.lint.target import State, Subject

OWN = {
    **dict.fromkeys(("BNLL", "Clip", "LRN", "MVN"), "its backward pass reads the values it has overwritten"),
    **dict.fromkeys(("Log", "Power"), "its backward pass overwrites the gradient from above before it has read it"),
    "Eltwise": "it clears its top, and with it its first bottom, before it reads it",
}
"""Types that cannot work in place -> why."""

READS_BOTTOM = frozenset(
    {"AbsVal", "BNLL", "Clip", "Convolution", "Deconvolution", "ELU", "Embed", "InnerProduct", "Log", "LRN", "LSTMUnit"}
    | {"MVN", "Power", "PReLU", "ReLU", "Scale"}
)
"""Types whose backward pass reads their bottom's values."""

READS_TOP = frozenset({"ELU", "Exp", "LRN", "LSTMUnit", "MVN", "Power", "Sigmoid", "Softmax", "Swish", "TanH"})
"""Types whose backward pass reads their top's values."""

_KEEPS_SIGN = frozenset({"ReLU", "Dropout", "TanH", "ELU"})
"""Types after which a ReLU in place still sees where it let values pass; what Dropout drops has no gradient anyway."""

_FED_ONCE = {
    "Parameter": ("the learned values themselves are overwritten in every pass", "warning"),
    "DummyData": ("constant fillers are written once: every pass works on what the last one left", "warning"),
    "Input": ("a second forward pass without new input works on what the first one left", "note"),
}


def in_place(subject: Subject) -> Iterator[Finding]:
    """Yield in-place layers that destroy what is still needed."""
    for state in subject.states:
        for number, layer in enumerate(state.layers):
            if layer.type == "Dropout" and state.phase == "TEST":
                continue
            for value in state.flow.overwrites(number):
                yield from _overwritten(subject, state, number, value)


def _overwritten(subject: Subject, state: State, number: int, value: Value) -> Iterator[Finding]:
    layer, flow = state.layers[number], state.flow
    source = state.layers[value.place.maker]
    if source.type in _FED_ONCE and _constant(source):
        why, level = _FED_ONCE[source.type]
        text = (f"overwrites {value.place.blob!r} of layer {source.name!r} ({source.type})", why, _own_top(layer))
        yield subject.finding("in-place-input", level, layer, text, "top", phase=state.phase)
    if layer.type in OWN and (state.phase == "TRAIN" or layer.type == "Eltwise"):
        text = (
            f"{layer.type} in place",
            f"{OWN[layer.type]}: Caffe's result is wrong; here it is right",
            _own_top(layer),
        )
        yield subject.finding("in-place", "warning", layer, text, "top", phase=state.phase)
    for other, reason in _victims(flow, number, value, training=state.phase == "TRAIN"):
        victim = f"layer {state.layers[other].name!r} ({state.layers[other].type})"
        text = (
            f"overwrites {value.blob!r}, which {victim} {reason}",
            "Caffe computes with the overwritten values without a word; here each layer has the values it was given",
            _own_top(layer),
        )
        yield subject.finding("in-place", "warning", layer, text, "top", phase=state.phase)


def _constant(layer: pb.LayerParameter) -> bool:
    """Tell whether the values of a layer are not written anew in every pass."""
    fillers = layer.dummy_data_param.data_filler
    return layer.type != "DummyData" or all(filler.type == "constant" for filler in fillers)


def _victims(flow: Flow, number: int, overwritten: Value, *, training: bool) -> Iterator[tuple[int, str]]:
    """Yield the layers that need what lies in the memory of `overwritten` when layer `number` writes there."""
    before = flow.since_written(overwritten, number)
    content = before[0]
    for value in before:
        for reader in value.readers:
            if reader > number:
                yield reader, "reads afterwards"
            elif training and reader < number and _keeps_its_bottom(flow.layers[reader], value.blob):
                yield reader, "needs for its backward pass"
    maker = flow.layers[content.maker]
    if training and (_reads_top(maker) or (_in_place_relu(maker) and flow.layers[number].type not in _KEEPS_SIGN)):
        yield content.maker, "made and needs for its backward pass"


def _keeps_its_bottom(layer: pb.LayerParameter, blob: str) -> bool:
    """Tell whether a layer, not in place, counts on finding its bottom as it was."""
    return blob not in layer.top and _reads_bottom(layer)


def _reads_bottom(layer: pb.LayerParameter) -> bool:
    if layer.type == "Eltwise":
        return layer.eltwise_param.operation == pb.EltwiseParameter.PROD
    return layer.type in READS_BOTTOM and not (layer.type == "Power" and layer.power_param.power == 1)


def _reads_top(layer: pb.LayerParameter) -> bool:
    if layer.type == "Eltwise":
        return layer.eltwise_param.operation == pb.EltwiseParameter.PROD and not layer.eltwise_param.stable_prod_grad
    return layer.type in READS_TOP and not (layer.type == "Power" and layer.power_param.power in (1, 2))


def _in_place_relu(layer: pb.LayerParameter) -> bool:
    return layer.type == "ReLU" and list(layer.bottom) == list(layer.top)


def _own_top(layer: pb.LayerParameter) -> str:
    return f"give it a top of its own, for instance {layer.name!r}"
