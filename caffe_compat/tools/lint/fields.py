"""Rules about fields: old forms, fields of forks, and fields that a layer does not read."""

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
"""Fields that a layer of the current form does not read any more: transform_param has them."""

_GENERAL = frozenset({"transform_param", "loss_param", "param", "include", "exclude", "blobs"})


def deprecated(subject: Subject) -> Iterator[Finding]:
    """Yield forms and fields that Caffe still reads and that newer ones replaced."""
    raw = subject.raw
    if raw.layers:
        v0 = any(layer.HasField("layer") for layer in raw.layers)
        text = (
            f"layers of the V{0 if v0 else 1} form, {len(raw.layers)} of them",
            "other tools and later forks do not read it",
            "caffe-compat upgrade OLD NEW writes the current form",
        )
        yield subject.finding("deprecated", "warning", None, text, "layers")
    if raw.input:
        field = "input_dim" if raw.input_dim else "input_shape" if raw.input_shape else "input"
        text = (f"`{field}` of the net", "an Input layer took its place", "caffe-compat upgrade OLD NEW writes it")
        yield subject.finding("deprecated", "warning", None, text, "input")
    for layer in raw.layer:
        for (message, name), new in _RENAMED.items():
            part = getattr(layer, message)
            field = part.DESCRIPTOR.fields_by_name[name]
            if layer.HasField(message) and _given(part, field.name):
                text = (f"{message}.{name}", f"{message}.{new} took its place", f"write {new}")
                yield subject.finding("deprecated", "note", layer, text, f"{message}.{name}")


def _given(message: Message, name: str) -> bool:
    return any(field.name == name for field, _ in message.ListFields())


def ignored(subject: Subject) -> Iterator[Finding]:
    """Yield fields that have no effect on the layer they are given to."""
    for layer in subject.raw.layer:
        known = REGISTRY.get(layer.type)
        for name, fields in _MOVED.items():
            for field in fields:
                if layer.HasField(name) and _given(getattr(layer, name), field):
                    text = (
                        f"{name}.{field} is not read",
                        "only layers of the old form have it carried over; in this one Caffe passes over it",
                        f"write it as transform_param.{field}",
                    )
                    yield subject.finding("ignored-field", "warning", layer, text, f"{name}.{field}")
        if known is None:
            continue
        for described, _ in layer.ListFields():
            given = described.name
            if described.message_type is None or given in known.accounts or given in _GENERAL:
                continue
            text = (
                f"a {layer.type} layer does not read {given}",
                "Caffe passes over it without a word",
                "remove it" + _meant(known.accounts),
            )
            yield subject.finding("ignored-field", "warning", layer, text, given)


def _meant(names: Iterable[str]) -> str:
    known = [name for name in names if name not in _GENERAL]
    return f"; its parameters are in {', '.join(known)}" if known else ""


def _fork_of(layer: pb.LayerParameter, forks: Sequence[str]) -> str | None:
    """Return the fork whose type a layer is taken to be, or None."""
    resolved = resolve_type(LayerSpec(layer, ()), forks)
    return resolved[1].fork or None if isinstance(resolved, tuple) else None


def forked(subject: Subject) -> Iterator[Finding]:
    """Yield what Caffe 1.0 does not know: an error each where nobody here does, else each field and type once."""
    built = not any(state.problems for state in subject.states)
    types = {node.name: node.layer.forks for state in subject.states if state.graph for node in state.graph.nodes}
    seen: dict[tuple[str, str, str], list[pb.LayerParameter]] = {}
    strange: list[tuple[pb.LayerParameter | None, UnknownField]] = []
    for layer in subject.raw.layer:
        chosen = _fork_of(layer, subject.forks)
        if types.get(layer.name) or chosen:
            told = chosen or " or ".join(types[layer.name])
            seen.setdefault(("layer type", layer.type, told), []).append(layer)
        for path, fork in all_unknown_fields(layer):
            where = f"{path}.{fork.field}" if path else fork.field
            if chosen or built:
                told = chosen or " or ".join(forks_with(path, fork.field)) or "a fork"
                seen.setdefault(("field", where, told), []).append(layer)
            else:
                strange.append((layer, fork))
    strange += [(None, fork) for path, fork in all_unknown_fields(subject.raw) if not path.startswith("layer[")]
    for layer_or_net, fork in strange:
        yield _strange(subject, layer_or_net, fork)
    for (what, name, told), layers in seen.items():
        more = f", here and in {len(layers) - 1} more layers" if len(layers) > 1 else ""
        text = (
            f"a {what} of a fork of Caffe: {name}{more}",
            f"genuine Caffe refuses the file; here it is that of {told}",
            "docs/forks.md tells how forks are told apart; --fork names one",
        )
        yield subject.finding("fork", "note", layers[0], text, "type" if what == "layer type" else name)


def _strange(subject: Subject, layer: pb.LayerParameter | None, fork: UnknownField) -> Finding:
    problem = f"Caffe 1.0 has no such field: {fork.field}"
    if fork.value is not None:
        problem = f"{fork.field}: Caffe 1.0 has no such value: {fork.value}"
    return Finding(
        "fork",
        "error",
        problem,
        "genuine Caffe refuses the file",
        f"did you mean {fork.meant!r}?" if fork.meant else "it belongs to a fork of Caffe",
        file=subject.file,
        line=fork.line or 0,
        layer="" if layer is None else layer.name,
    )
