"""Rules about what stops a net from being built, and about weights for it."""

from __future__ import annotations

from collections.abc import Iterator

from caffe_compat.build.net import build_net
from caffe_compat.build.weights import LoadReport, Weights, copy_weights
from caffe_compat.errors import CaffeCompatError
from caffe_compat.formats.extras import all_unknown_fields
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.tools.lint.rules import Finding
from caffe_compat.tools.lint.target import UNKNOWN_SHAPE, State, Subject

_ANOTHER = "another layer makes this blob already"


def building(subject: Subject) -> Iterator[Finding]:
    """Yield what stops the net from being built in each phase."""
    known_forks = {(fork.line, fork.field) for _, fork in all_unknown_fields(subject.raw)}
    for state in subject.states:
        for error in state.problems:
            if (error.line, error.field) not in known_forks:
                yield _told(subject, state, error)


def _told(subject: Subject, state: State, error: CaffeCompatError) -> Finding:
    rule, level, why = "build", "error", "Caffe stops here"
    if error.problem.startswith(UNKNOWN_SHAPE) or "the shape is not known" in error.problem:
        rule, level, why = "shapes", "note", "what needs shapes was not checked"
    elif error.problem == _ANOTHER and isinstance(error.value, str) and _in_place(state, error):
        rule = "in-place"
        why = (
            "a layer above reads the blob too: Caffe splits it, and the in-place layer makes a second blob of the name"
        )
    elif error.problem == "cannot work in place":
        rule = "in-place"
    stages = _stages_that_make(subject, error.value) if error.field == "bottom" else ()
    if stages:
        level, why = "note", "without a stage this phase cannot be built"
    problem = f"{error.field}: {error.problem}" if error.field else error.problem
    if error.value is not None and error.field:
        problem = f"{error.field} = {error.value!r}: {error.problem}"
    hint = error.hint or ""
    if "input_shapes" in hint:
        hint = "pass --input=BLOB=N,C,H,W"
    if stages:
        hint = f"a layer of stage {' or '.join(stages)} makes it: --stage={stages[0]}"
    return Finding(
        rule, level, problem, why, hint, error.file or subject.file, error.line or 0, error.layer or "", state.phase
    )


def _stages_that_make(subject: Subject, blob: object) -> list[str]:
    """Return the stages in which some layer makes a blob."""
    rules = [rule for layer in subject.net.layer if blob in layer.top for rule in layer.include]
    return sorted({stage for rule in rules for stage in rule.stage})


def _in_place(state: State, error: CaffeCompatError) -> bool:
    return any(
        layer.name == error.layer and error.value in layer.top and error.value in layer.bottom for layer in state.layers
    )


def weights(subject: Subject, file: Weights, shown: str) -> Iterator[Finding]:
    """Yield what weights leave out, have left over, or have in another shape; of the first phase that can be built."""
    state = next((state for state in subject.states if state.graph is not None), None)
    if state is None or state.graph is None:
        return
    net = build_net(state.graph, empty=True)
    report = copy_weights(net, file, mismatched="skip", unrelated="take")
    layers = {layer.name: layer for layer in reversed(state.layers)}
    for mismatch in report.mismatched:
        text = (
            f"{shown}: {mismatch.problem}",
            "Caffe stops at the first shape that differs",
            "caffe-compat finetune_report shows what --rename and --reshape would do",
        )
        yield subject.finding("weights-mismatch", "error", layers.get(mismatch.layer), text)
    for blob in report.not_finite:
        text = (
            f"{shown}: {blob}",
            "everything the net computes from them is NaN or infinite; Caffe goes on without a word",
            "weights from before the training that made them diverged",
        )
        yield subject.finding("weights-not-finite", "warning", layers.get(blob.layer), text)
    yield from _missing(subject, report, layers, state, shown)
    everywhere = {layer.name for layer in subject.net.layer}
    for name in report.ignored:
        if name in everywhere:
            continue
        text = (
            f"layer {name!r} of {shown} is not in the net",
            "Caffe passes over it without an error; after a change of names that is how weights get lost",
            "caffe-compat finetune_report --rename=OLD=NEW",
        )
        yield Finding("weights-left-over", "warning", *text, file=subject.file)


def _missing(
    subject: Subject, report: LoadReport, layers: dict[str, pb.LayerParameter], state: State, shown: str
) -> Iterator[Finding]:
    assert state.graph is not None
    wrong = {mismatch.layer for mismatch in report.mismatched}
    names = dict.fromkeys(
        slot.layer for slot in state.graph.slots if slot.key in report.left_at_filler and slot.layer not in wrong
    )
    for name in names:
        text = (
            f"{shown} has no such layer",
            "it stays as its filler draws it",
            "train it, or caffe-compat finetune_report --rename=OLD=NEW",
        )
        yield subject.finding("weights-missing", "warning", layers.get(name), text)
