"""Rules about fields: outdated formats, fields of forks, and fields that a layer does not read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from google.protobuf.message import Message

from caffe_compat.definition.forks import forks_with
from caffe_compat.formats.extras import UnknownField, all_unknown_fields
from caffe_compat.layers import REGISTRY, LayerSpec, resolve_type
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.tools.lint.rules import Finding
from caffe_compat.tools.lint.target import Subject

_RENAMED = {
    ("concat_param", "concat_dim"): "axis",
    ("slice_param", "slice_dim"): "axis",
    ("loss_param", "normalize"): "normalization",
    **{("dummy_data_param", name): "shape" for name in ("num", "channels", "height", "width")},
}
_MOVED = {
    "data_param": ("scale", "mean_file", "crop_size", "mirror"),
    "image_data_param": ("scale", "mean_file", "crop_size", "mirror"),
}
"""Fields that moved to transform_param; a layer in the current format does not read them."""

_GENERAL = frozenset({"transform_param", "loss_param", "param", "include", "exclude", "blobs"})


def deprecated(subject: Subject) -> Iterator[Finding]:
    """Yield outdated formats and fields that Caffe still reads."""
    raw = subject.raw
    if raw.layers:
        v0 = any(layer.HasField("layer") for layer in raw.layers)
        text = (
            f"{len(raw.layers)} layers are in the V{0 if v0 else 1} format",
            "other tools and later forks do not read it",
            "convert the file with caffe-compat upgrade OLD NEW",
        )
        yield subject.finding("deprecated", "warning", None, text, "layers")
    if raw.input:
        field = "input_dim" if raw.input_dim else "input_shape" if raw.input_shape else "input"
        text = (
            f"`{field}` of the net is outdated",
            "Input layers replaced it",
            "convert the file with caffe-compat upgrade OLD NEW",
        )
        yield subject.finding("deprecated", "warning", None, text, "input")
    for layer in raw.layer:
        for (message, name), new in _RENAMED.items():
            part = getattr(layer, message)
            field = part.DESCRIPTOR.fields_by_name[name]
            if layer.HasField(message) and _given(part, field.name):
                text = (f"{message}.{name} is outdated", f"{message}.{new} replaced it", f"write {new}")
                yield subject.finding("deprecated", "note", layer, text, f"{message}.{name}")


def _given(message: Message, name: str) -> bool:
    return any(field.name == name for field, _ in message.ListFields())


def ignored(subject: Subject) -> Iterator[Finding]:
    """Yield fields that have no effect on their layer."""
    for layer in subject.raw.layer:
        facts = REGISTRY.get(layer.type)
        for name, fields in _MOVED.items():
            for field in fields:
                if layer.HasField(name) and _given(getattr(layer, name), field):
                    text = (
                        f"{name}.{field} is not read",
                        "Caffe converts it in layers of the old format only, and ignores it here",
                        f"write it as transform_param.{field}",
                    )
                    yield subject.finding("ignored-field", "warning", layer, text, f"{name}.{field}")
        if facts is None:
            continue
        for described, _ in layer.ListFields():
            given = described.name
            if described.message_type is None or given in facts.accounts or given in _GENERAL:
                continue
            text = (
                f"a {layer.type} layer does not read {given}",
                "Caffe ignores it silently",
                "remove it" + _parameters(facts.accounts),
            )
            yield subject.finding("ignored-field", "warning", layer, text, given)


def _parameters(messages: Iterable[str]) -> str:
    """Return the messages with the layer's parameters, as the end of a hint."""
    specific = [message for message in messages if message not in _GENERAL]
    return f"; its parameters are in {', '.join(specific)}" if specific else ""


def _fork_of(layer: pb.LayerParameter, forks: Sequence[str]) -> str | None:
    """Return the fork that a layer's type is resolved to, or None."""
    resolved = resolve_type(LayerSpec(layer, ()), forks)
    return resolved[1].fork or None if isinstance(resolved, tuple) else None


def forked(subject: Subject) -> Iterator[Finding]:
    """Yield types and fields unknown to Caffe 1.0: notes, once each, if a fork has them, else errors."""
    built = not any(state.problems for state in subject.states)
    types = {node.name: node.layer.forks for state in subject.states if state.graph for node in state.graph.nodes}
    seen: dict[tuple[str, str, str], list[pb.LayerParameter]] = {}
    refused: list[tuple[pb.LayerParameter | None, UnknownField]] = []
    for layer in subject.raw.layer:
        chosen = _fork_of(layer, subject.forks)
        if types.get(layer.name) or chosen:
            fork = chosen or " or ".join(types[layer.name])
            seen.setdefault(("layer type", layer.type, fork), []).append(layer)
        for path, unknown in all_unknown_fields(layer):
            name = f"{path}.{unknown.field}" if path else unknown.field
            if chosen or built:
                fork = chosen or " or ".join(forks_with(path, unknown.field)) or "a fork"
                seen.setdefault(("field", name, fork), []).append(layer)
            else:
                refused.append((layer, unknown))
    refused += [(None, unknown) for path, unknown in all_unknown_fields(subject.raw) if not path.startswith("layer[")]
    for layer_or_net, unknown in refused:
        yield _refused(subject, layer_or_net, unknown)
    for (what, name, fork), layers in seen.items():
        others = len(layers) - 1
        more = f", also in {others} other layer{'s' if others > 1 else ''}" if others else ""
        text = (
            f"{what} of a fork of Caffe: {name}{more}",
            f"genuine Caffe refuses the file; this engine reads it as {fork}",
            "see docs/forks.md, or name another fork with --fork",
        )
        yield subject.finding("fork", "note", layers[0], text, "type" if what == "layer type" else name)


def _refused(subject: Subject, layer: pb.LayerParameter | None, unknown: UnknownField) -> Finding:
    problem = f"Caffe 1.0 has no field {unknown.field}"
    if unknown.value is not None:
        problem = f"{unknown.field}: Caffe 1.0 has no value {unknown.value}"
    return Finding(
        "fork",
        "error",
        problem,
        "genuine Caffe refuses the file",
        unknown.error().hint or "",
        file=subject.file,
        line=unknown.line or 0,
        layer="" if layer is None else layer.name,
    )
