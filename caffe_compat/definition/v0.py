"""Upgrade V0 nets, the oldest form, to V1 (BVLC Caffe 9b89154, src/caffe/util/upgrade_proto.cpp)."""

from __future__ import annotations

from collections.abc import Sequence

from caffe_compat.definition.carry import keep_marks, layer_error, set_field
from caffe_compat.errors import CaffeCompatError, did_you_mean, raise_together
from caffe_compat.formats.extras import copied, copy_unknown
from caffe_compat.schema.caffe_pb2 import NetParameter, V1LayerParameter
from caffe_compat.schema.old_names import V0_FIELDS, V0_PARAMS, V0_TRANSFORMATIONS, V0_TYPES

_DROPPED = "Caffe drops this field without a warning: in the V0 form, fields belong in the inner `layer`"


def upgrade_v0(net: NetParameter) -> NetParameter:
    """Return a V1 net: padding layers become the pad of the layer they feed, and parameters are grouped by type."""
    if not any(layer.HasField("layer") for layer in net.layers):
        return net
    padded = upgrade_v0_padding(net)
    out = NetParameter()
    for name in ("name", "force_backward"):
        if padded.HasField(name):
            setattr(out, name, getattr(padded, name))
    out.input.extend(padded.input)
    out.input_dim.extend(padded.input_dim)
    copy_unknown(padded, out)
    problems: list[CaffeCompatError] = []
    for layer in padded.layers:
        problems += _upgrade_v0_layer(layer, out.layers.add())
    raise_together(problems)
    return out


def upgrade_v0_padding(net: NetParameter) -> NetParameter:
    """Return the net without its ``padding`` layers, their pad given to the convolution or pooling that follows."""
    out = copied(net)
    out.ClearField("layers")
    producers: dict[str, V1LayerParameter | None] = dict.fromkeys(net.input)
    problems: list[CaffeCompatError] = []
    for layer in net.layers:
        kind = layer.layer.type
        new = None
        if kind != "padding":
            new = out.layers.add()
            new.CopyFrom(layer)
        for index, bottom in enumerate(layer.bottom):
            if bottom not in producers:
                hint = did_you_mean(bottom, producers)
                problems.append(
                    layer_error(layer, "no layer above makes this blob", "bottom", bottom, hint, code="name-unknown")
                )
                continue
            producer = producers[bottom]
            if producer is None or producer.layer.type != "padding":
                continue
            problem = _padding_problem(layer, producer)
            if problem:
                problems.append(layer_error(layer, problem, "bottom", bottom, code="unsupported"))
            elif new is not None:
                new.layer.pad = producer.layer.pad
                new.bottom[index] = producer.bottom[0]
        producers.update(dict.fromkeys(layer.top, layer))
    raise_together(problems)
    return out


def _padding_problem(layer: V1LayerParameter, padding: V1LayerParameter) -> str | None:
    if layer.layer.type not in ("conv", "pool"):
        return f"padding precedes a layer of type {layer.layer.type!r}; only conv and pool accept it"
    if len(layer.bottom) != 1:
        return f"a padded layer has one bottom, got {len(layer.bottom)}"
    if len(padding.bottom) != 1 or len(padding.top) != 1:
        return f"padding layer {padding.layer.name!r} must have one bottom and one top"
    return None


def _upgrade_v0_layer(old: V1LayerParameter, new: V1LayerParameter) -> list[CaffeCompatError]:
    new.bottom.extend(old.bottom)
    new.top.extend(old.top)
    copy_unknown(old, new)
    problems: list[CaffeCompatError] = []
    for field, _ in old.ListFields():
        if field.name not in ("bottom", "top", "layer"):
            problems.append(layer_error(old, _DROPPED, field.name, code="field-unknown"))
    layer = old.layer
    kind = layer.type
    if layer.HasField("name"):
        new.name = layer.name
    if layer.HasField("type"):
        if kind in V0_TYPES:
            new.type = V1LayerParameter.LayerType.Value(V0_TYPES[kind])  # type: ignore[assignment]
        else:
            hint = did_you_mean(kind, V0_TYPES)
            problems.append(layer_error(old, "unknown V0 layer type", "type", kind, hint, code="type-unknown"))
            return problems
    for blob in layer.blobs:
        new.blobs.add().CopyFrom(blob)
    new.blobs_lr.extend(layer.blobs_lr)
    new.weight_decay.extend(layer.weight_decay)
    for source, target in V0_TRANSFORMATIONS.items():
        if layer.HasField(source):
            setattr(new.transform_param, target, getattr(layer, source))
    for source, (kinds, target) in V0_FIELDS.items():
        if layer.HasField(source):
            if kind in kinds:
                set_field(getattr(new, V0_PARAMS[kind]), target, getattr(layer, source))
            else:
                problems.append(_misplaced(old, source, kinds))
    if layer.HasField("hdf5_output_param"):
        if kind == "hdf5_output":
            new.hdf5_output_param.CopyFrom(layer.hdf5_output_param)
        else:
            problems.append(_misplaced(old, "hdf5_output_param", ("hdf5_output",)))
    keep_marks(layer, new)
    return problems


def _misplaced(layer: V1LayerParameter, field: str, kinds: Sequence[str]) -> CaffeCompatError:
    return layer_error(
        layer,
        f"a layer of type {layer.layer.type!r} has no such field",
        field,
        hint=f"a field of {' or '.join(kinds)} layers",
        code="field-unknown",
    )
