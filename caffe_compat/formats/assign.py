"""Set a field of a message from plain Python values: lists, dicts, numbers, text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from caffe_compat.errors import CaffeCompatError, did_you_mean
from caffe_compat.formats.extras import repeated

__all__ = ["SpecError", "SpecTypeError", "SpecValueError", "assign_proto"]


class SpecError(CaffeCompatError, AttributeError):
    """A layer, field or top that the messages or the net do not have."""


class SpecTypeError(CaffeCompatError, TypeError):
    """A bottom that is no top, or a value of a type that the field does not take."""

    __str__ = CaffeCompatError.__str__


class SpecValueError(CaffeCompatError, ValueError):
    """A value outside of what the field can hold."""


def assign_proto(proto: Message, name: str, val: Any) -> None:
    """Set a field from a Python value.

    Lists become repeated fields, dicts become messages, anything else is assigned as it is; a repeated field takes a
    single value as a list of one.

    Raises
    ------
    AttributeError
        If there is no such field.
    TypeError, ValueError
        If the field does not take the value.
    """
    field: Any = proto.DESCRIPTOR.fields_by_name.get(name)
    if field is None:
        hint = did_you_mean(name, proto.DESCRIPTOR.fields_by_name)
        raise SpecError(f"{proto.DESCRIPTOR.name} has no such field", field=name, value=val, hint=hint)
    if isinstance(val, tuple | np.ndarray):
        val = list(val)
    try:
        _assign(proto, field, val)
    except CaffeCompatError:
        raise
    except (TypeError, ValueError) as error:
        kind = SpecTypeError if isinstance(error, TypeError) else SpecValueError
        raise kind(str(error), field=f"{proto.DESCRIPTOR.name}.{name}", value=val, hint=_takes(field)) from None


def _assign(proto: Message, field: FieldDescriptor, val: Any) -> None:
    if repeated(field):
        items = getattr(proto, field.name)
        for item in val if isinstance(val, list) else [val]:
            if isinstance(item, dict):
                _need_message(proto, field, val)
                _fill(items.add(), item)
            elif field.message_type is not None:
                items.add().CopyFrom(item)
            else:
                items.append(_scalar(field, item))
    elif isinstance(val, dict):
        _need_message(proto, field, val)
        _fill(getattr(proto, field.name), val)
    elif isinstance(val, list):
        raise SpecError("holds one value, not a list", field=f"{proto.DESCRIPTOR.name}.{field.name}", value=val)
    elif field.message_type is not None:
        getattr(proto, field.name).CopyFrom(val)
    else:
        setattr(proto, field.name, _scalar(field, val))


def _fill(proto: Message, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        assign_proto(proto, name, value)


def _need_message(proto: Message, field: FieldDescriptor, val: Any) -> None:
    if field.message_type is None:
        name = f"{proto.DESCRIPTOR.name}.{field.name}"
        raise SpecError("holds plain values, not the fields of a message", field=name, value=val, hint=_takes(field))


def _scalar(field: FieldDescriptor, value: Any) -> Any:
    """Return an enum's identifier as its number, anything else as it is."""
    if field.enum_type is not None and isinstance(value, str):
        known = field.enum_type.values_by_name
        if value not in known:
            raise SpecValueError("no such identifier", field=field.name, value=value, hint=_takes(field))
        return known[value].number
    return value


def _takes(field: FieldDescriptor) -> str:
    if field.message_type is not None:
        names = [f.name for f in field.message_type.fields]
        return f"dict({', '.join(f'{name}=...' for name in names[:3])}{', ...' if len(names) > 3 else ''})"
    if field.enum_type is not None:
        return " or ".join(v.name for v in field.enum_type.values)
    kinds = {
        FieldDescriptor.CPPTYPE_STRING: "text",
        FieldDescriptor.CPPTYPE_BOOL: "True or False",
        FieldDescriptor.CPPTYPE_FLOAT: "a number",
        FieldDescriptor.CPPTYPE_DOUBLE: "a number",
        FieldDescriptor.CPPTYPE_UINT32: "an integer from 0 to 4294967295",
    }
    return kinds.get(field.cpp_type, "an integer")
