"""Parameters of a user's own layer type: a message made from the defaults that the type declares."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

Value = bool | int | float | str | list[int] | list[float] | list[str]
Defaults = Mapping[str, Value]
"""Field -> default, whose type is the field's; an empty list stands for numbers, as many as are given."""

_Field = descriptor_pb2.FieldDescriptorProto
_KINDS = {bool: _Field.TYPE_BOOL, int: _Field.TYPE_INT64, float: _Field.TYPE_DOUBLE, str: _Field.TYPE_STRING}
_LARGEST = 1 << 28


def own_message(type_: str, own: Mapping[str, Defaults]) -> type[Message]:
    """Return the message of what a layer of type `type_` may say beside Caffe's fields.

    Raises
    ------
    ValueError
        A default is of a kind that has no place in a prototxt.
    """
    flat = tuple((name, tuple((f, _frozen(v)) for f, v in fields.items())) for name, fields in own.items())
    return _made(type_, flat)


def _frozen(value: Value) -> object:
    return tuple(value) if isinstance(value, list) else value


@cache
def _made(type_: str, own: tuple[tuple[str, tuple[tuple[str, object], ...]], ...]) -> type[Message]:
    package = "caffe_compat.own"  # each type has a pool of its own
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto2")
    layer = file.message_type.add(name="Layer")
    for number, (name, fields) in enumerate(own, 1):
        message = file.message_type.add(name=f"Message{number}")
        for place, (field, default) in enumerate(fields, 1):
            _add_field(message, field, place, default, type_)
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


def _add_field(message: descriptor_pb2.DescriptorProto, name: str, number: int, default: object, type_: str) -> None:
    many = isinstance(default, tuple)
    kind = type(default[0]) if isinstance(default, tuple) and default else float if many else type(default)
    if kind not in _KINDS:
        raise ValueError(f"layer type {type_}: {name}: a bool, int, float, str or a list of them, not {default!r}")
    field = message.field.add(name=name, number=number, type=_KINDS[kind])
    field.label = _Field.LABEL_REPEATED if many else _Field.LABEL_OPTIONAL
    if not many:
        field.default_value = str(default).lower() if isinstance(default, bool) else str(default)
