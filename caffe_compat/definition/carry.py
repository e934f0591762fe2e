"""Carry fields, places and unknown fields from one form of a message to another."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from caffe_compat.errors import Code, NetError
from caffe_compat.formats.extras import add_unknown_field, add_where, repeated, unknown_fields, where
from caffe_compat.schema.caffe_pb2 import LayerParameter, V0LayerParameter, V1LayerParameter


def set_field(message: Message, name: str, value: Any, *, whole: bool = False) -> None:
    """Set a field; a repeated field is extended by all values (`whole`) or by one."""
    field = message.DESCRIPTOR.fields_by_name[name]
    if repeated(field):
        getattr(message, name).extend(value if whole else [value])
    elif field.message_type is not None:
        getattr(message, name).CopyFrom(value)
    else:
        setattr(message, name, value)


def keep_marks(old: Message, new: V1LayerParameter | LayerParameter) -> None:
    """Copy the place and the unknown fields of a layer to a message of another type.

    The identifier of an unknown V1 type becomes its string. A number means another field in another
    message, so the unknown fields of a binary file are kept as text only.
    """
    place = where(old)
    if place is not None:
        add_where(new, place.file, place.line)
    for unknown in unknown_fields(old):
        known_value = unknown.value is not None
        if isinstance(new, LayerParameter) and unknown.field == "type" and known_value:
            new.type = (
                unknown.value if unknown.value and not unknown.value.lstrip("-").isdecimal() else f"V1_{unknown.value}"
            )
            continue
        target = (
            new.pooling_param if isinstance(old, V0LayerParameter) and unknown.field == "pool" and known_value else new
        )
        add_unknown_field(
            target, unknown.file or "", unknown.line or 0, unknown.column or 0, unknown.field, unknown.text
        )


def layer_error(
    layer: LayerParameter | V1LayerParameter,
    problem: str,
    field: str | None = None,
    value: object = None,
    hint: str | None = None,
    *,
    code: Code,
) -> NetError:
    """Return an error about a layer of any version, with its file and line."""
    place = where(layer)
    file, line = (place.file, place.line) if place else (None, None)
    name = layer.layer.name if isinstance(layer, V1LayerParameter) and layer.HasField("layer") else layer.name
    return NetError(problem, code=code, file=file, line=line, layer=name, field=field, value=value, hint=hint)
