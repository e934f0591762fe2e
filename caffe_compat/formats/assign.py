"""Set a field of a message from plain Python values: lists, dicts, numbers, text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from caffe_compat.errors import CaffeCompatError, Code, did_you_mean
from caffe_compat.formats.extras import repeated

__all__ = ["SpecError", "SpecTypeError", "SpecValueError", "assign_proto"]


class SpecError(CaffeCompatError, AttributeError):
    """A layer, field or top that the message or the net lacks."""


class SpecTypeError(CaffeCompatError, TypeError):
    """A bottom that is not a top, or a value of a type that the field does not take."""

    __str__ = CaffeCompatError.__str__


class SpecValueError(CaffeCompatError, ValueError):
    """A value out of the field's range."""


_KINDS: dict[bool, tuple[type[CaffeCompatError], Code]] = {
    True: (SpecTypeError, "wrong-type"),
    False: (SpecValueError, "out-of-range"),
}


def assign_proto(proto: Message, name: str, val: Any) -> None:
    """Set a field from a Python value.

    Lists become repeated fields and dicts become messages; other values are assigned unchanged. A repeated field takes
    a single value as a list of one.
    """
    field: Any = proto.DESCRIPTOR.fields_by_name.get(name)
    if field is None:
        hint = did_you_mean(name, proto.DESCRIPTOR.fields_by_name)
        problem = f"{proto.DESCRIPTOR.name} has no such field"
        raise SpecError(problem, code="field-unknown", field=name, value=val, hint=hint)
    if isinstance(val, tuple | np.ndarray):
        val = list(val)
    try:
        _assign(proto, field, val)
    except CaffeCompatError:
        raise
    except (TypeError, ValueError) as error:
        kind, code = _KINDS[isinstance(error, TypeError)]
        path = f"{proto.DESCRIPTOR.name}.{name}"
        raise kind(str(error), code=code, field=path, value=val, hint=_accepted_values(field)) from None


def _assign(proto: Message, field: FieldDescriptor, val: Any) -> None:
    if repeated(field):
        items = getattr(proto, field.name)
        for item in val if isinstance(val, list) else [val]:
            if isinstance(item, dict):
                _require_message(proto, field, val)
                _fill(items.add(), item)
            elif field.message_type is not None:
                items.add().CopyFrom(item)
            else:
                items.append(_scalar(field, item))
    elif isinstance(val, dict):
        _require_message(proto, field, val)
        _fill(getattr(proto, field.name), val)
    elif isinstance(val, list):
        path = f"{proto.DESCRIPTOR.name}.{field.name}"
        raise SpecError("takes one value, got a list", code="wrong-type", field=path, value=val)
    elif field.message_type is not None:
        getattr(proto, field.name).CopyFrom(val)
    else:
        setattr(proto, field.name, _scalar(field, val))


def _fill(proto: Message, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        assign_proto(proto, name, value)


def _require_message(proto: Message, field: FieldDescriptor, val: Any) -> None:
    if field.message_type is None:
        name, problem = f"{proto.DESCRIPTOR.name}.{field.name}", "takes scalars, got the fields of a message"
        raise SpecError(problem, code="wrong-type", field=name, value=val, hint=_accepted_values(field))


def _scalar(field: FieldDescriptor, value: Any) -> Any:
    """Return the number of an enum's identifier, and any other value unchanged."""
    if field.enum_type is not None and isinstance(value, str):
        identifiers = field.enum_type.values_by_name
        if value not in identifiers:
            hint = _accepted_values(field)
            raise SpecValueError("no such identifier", code="name-unknown", field=field.name, value=value, hint=hint)
        return identifiers[value].number
    return value


def _accepted_values(field: FieldDescriptor) -> str:
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
