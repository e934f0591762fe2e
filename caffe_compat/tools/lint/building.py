"""Rules about nets that cannot be built, pooling that rounds up, and weights that do not match the net."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from caffe_compat.build.net import build_net
from caffe_compat.build.weights import LoadReport, Weights, copy_weights
from caffe_compat.errors import CaffeCompatError
from caffe_compat.formats.extras import all_unknown_fields
from caffe_compat.graph.graph import LayerNode
from caffe_compat.layers.pooling import Pooling
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.tools.lint.rules import Finding
from caffe_compat.tools.lint.target import State, Subject


def building(subject: Subject) -> Iterator[Finding]:
    """Yield the errors that keep the net from being built in each phase."""
    unknown_fields = {(fork.line, fork.field) for _, fork in all_unknown_fields(subject.raw)}
    for state in subject.states:
        for error in state.problems:
            if (error.line, error.field) not in unknown_fields:
                yield _finding(subject, state, error)


def _finding(subject: Subject, state: State, error: CaffeCompatError) -> Finding:
    rule, level, why = "build", "error", "Caffe stops here"
    shape_unknown = error.code == "shape-unknown"
    if shape_unknown:
        rule, level, why = "shapes", "note", "rules that need shapes were not checked"
    elif error.field == "top" and _in_place(state, error):
        rule = "in-place"
        if _reads_above(state, error):
            why = "a layer above reads the blob, so Caffe splits it and the in-place layer makes a second blob"
    stages = _stages_that_make(subject, error.value) if error.field == "bottom" else ()
    if stages:
        level, why = "note", "this phase cannot be built without a stage"
    problem = f"{error.field}: {error.problem}" if error.field else error.problem
    if error.value is not None and error.field:
        problem = f"{error.field} = {error.value!r}: {error.problem}"
    hint = error.hint or ""
    if shape_unknown:
        hint = "pass --input=BLOB=N,C,H,W"
    if stages:
        hint = f"pass --stage={stages[0]}: a layer of stage {' or '.join(stages)} makes this blob"
    return Finding(
        rule, level, problem, why, hint, error.file or subject.file, error.line or 0, error.layer or "", state.phase
    )


def _stages_that_make(subject: Subject, blob: object) -> list[str]:
    """Return the stages with a layer that makes a blob."""
    rules = [rule for layer in subject.net.layer if blob in layer.top for rule in layer.include]
    return sorted({stage for rule in rules for stage in rule.stage})


def _in_place(state: State, error: CaffeCompatError) -> bool:
    """Tell whether an error concerns a top that its layer computes in place."""
    return any(
        layer.name == error.layer and error.value in layer.top and error.value in layer.bottom for layer in state.layers
    )


def _reads_above(state: State, error: CaffeCompatError) -> bool:
    """Tell whether a layer above the one concerned reads its top."""
    names = [layer.name for layer in state.layers]
    above = names.index(error.layer) if error.layer in names else 0
    return any(error.value in layer.bottom for layer in state.layers[:above])


def weights(subject: Subject, file: Weights, name: str) -> Iterator[Finding]:
    """Yield missing, surplus, mismatched and non-finite weights, for the first phase that can be built."""
    state = next((state for state in subject.states if state.graph is not None), None)
    if state is None or state.graph is None:
        return
    net = build_net(state.graph, empty=True)
    report = copy_weights(net, file, mismatched="skip", unrelated="take")
    layers = {layer.name: layer for layer in reversed(state.layers)}
    for mismatch in report.mismatched:
        text = (
            f"{name}: {mismatch.problem}",
            "Caffe stops at the first shape that differs",
            "try --rename and --reshape with caffe-compat finetune_report",
        )
        yield subject.finding("weights-mismatch", "error", layers.get(mismatch.layer), text)
    for blob in report.not_finite:
        text = (
            f"{name}: {blob}",
            "results computed from them are NaN or infinite; Caffe does not complain",
            "use an earlier snapshot, from before the training diverged",
        )
        yield subject.finding("weights-not-finite", "warning", layers.get(blob.layer), text)
    yield from _missing(subject, report, layers, state, name)
    net_layers = {layer.name for layer in subject.net.layer}
    for surplus in report.ignored:
        if surplus in net_layers:
            continue
        text = (
            f"layer {surplus!r} of {name} is not in the net",
            "Caffe skips it silently: after a renaming, its weights are lost",
            "try --rename=OLD=NEW with caffe-compat finetune_report",
        )
        yield Finding("weights-left-over", "warning", *text, file=subject.file)


def _missing(
    subject: Subject, report: LoadReport, layers: dict[str, pb.LayerParameter], state: State, name: str
) -> Iterator[Finding]:
    assert state.graph is not None
    mismatched = {mismatch.layer for mismatch in report.mismatched}
    missing = dict.fromkeys(
        slot.layer for slot in state.graph.slots if slot.key in report.left_at_filler and slot.layer not in mismatched
    )
    for layer in missing:
        text = (
            f"{name} has no such layer",
            "its filler initializes it",
            "train it, or try --rename=OLD=NEW with caffe-compat finetune_report",
        )
        yield subject.finding("weights-missing", "warning", layers.get(layer), text)


def pooling(subject: Subject) -> Iterator[Finding]:
    """Yield pooling layers whose output is larger than with rounding down."""
    for state in subject.states:
        for node in state.graph.nodes if state.graph else ():
            if isinstance(node.layer, Pooling) and not node.spec.param.pooling_param.global_pooling:
                yield from _rounded(subject, node, node.layer, state.phase)


def _rounded(subject: Subject, node: LayerNode, layer: Pooling, phase: str) -> Iterator[Finding]:
    at, size, up = layer.window(node.spec), node.spec.bottoms[0][2:], layer.top_shapes(node.spec)[0][2:]
    floor = replace(at, ceil=False)
    down = tuple(floor.output(extent, axis) for axis, extent in enumerate(size))
    if up == down:
        return
    before, after, smaller = ("x".join(map(str, extents)) for extents in (size, up, down))
    text = (
        f"its last window extends beyond the border: {before} becomes {after}, or {smaller} rounded down",
        "Caffe rounds up, but torch, TensorFlow and ONNX round down by default; an AVE window at the border is smaller",
        "nothing to do here; use ceil mode in other frameworks, or round_mode: FLOOR in new nets",
    )
    field = "pooling_param.stride" if max(at.stride) > 1 else "pooling_param.kernel_size"
    yield subject.finding("pool-rounds-up", "note", node.spec.param, text, field, phase=phase)
