"""Parameters of a user's own layer type: a message made from the defaults that the type declares."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

Value = bool | int | float | str | list[int] | list[float] | list[str]
Defaults = Mapping[str, Value]
"""Field -> default, whose type is the field's; an empty list means any number of numbers."""

_Field = descriptor_pb2.FieldDescriptorProto
_KINDS = {bool: _Field.TYPE_BOOL, int: _Field.TYPE_INT64, float: _Field.TYPE_DOUBLE, str: _Field.TYPE_STRING}
_LARGEST = 1 << 28  # above any fork's number
_Declared = tuple[str, type, bool, str]
"""A field: its name, the type of its values, whether it is repeated, its default as a descriptor has it."""


def own_message(type_: str, own: Mapping[str, Defaults]) -> type[Message]:
    """Return the message of the fields that a layer of type `type_` has in addition to Caffe's."""
    fields = ((name, tuple(_declared(type_, f, value) for f, value in given.items())) for name, given in own.items())
    return _made(tuple(fields))


def _declared(type_: str, name: str, value: Value) -> _Declared:
    many = isinstance(value, list)
    first = (value[0] if value else 0.0) if isinstance(value, list) else value
    if type(first) not in _KINDS:
        raise ValueError(f"layer type {type_}: {name}: a bool, int, float, str or a list of them, not {value!r}")
    default = "" if many else str(value).lower() if isinstance(value, bool) else str(value)
    return name, type(first), many, default


@cache
def _made(own: tuple[tuple[str, tuple[_Declared, ...]], ...]) -> type[Message]:
    package = "caffe_compat.own"  # each type has a pool of its own
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto2")
    layer = file.message_type.add(name="Layer")
    for number, (name, fields) in enumerate(own, 1):
        message = file.message_type.add(name=f"Message{number}")
        for place, (field, kind, many, default) in enumerate(fields, 1):
            label = _Field.LABEL_REPEATED if many else _Field.LABEL_OPTIONAL
            message.field.add(
                name=field, number=place, type=_KINDS[kind], label=label, default_value=None if many else default
            )
        layer.field.add(
            name=name,
            number=_LARGEST + number,
            type=_Field.TYPE_MESSAGE,
            type_name=f".{package}.Message{number}",
            label=_Field.LABEL_OPTIONAL,
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.Layer"))
