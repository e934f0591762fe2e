"""Marks inside messages: fields unknown to Caffe 1.0, the places of layers, and references to blobs' values.

A mark is a protobuf unknown field with a private number, so it survives ``CopyFrom``, upgrades and serialisation.
:func:`unknown_fields` lists the fields that Caffe 1.0 does not know, :func:`where` returns a layer's line,
:func:`plain` removes the marks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from caffe_compat.errors import CaffeCompatError, NetError, nearest

MARK_NUMBER = 536870911  # the largest field number, which no schema of Caffe or of a fork uses
UNKNOWN, WHERE, BLOB = b"F", b"W", b"B"
_WIRE_NAMES = {0: "varint", 1: "fixed64", 2: "bytes", 3: "group", 5: "fixed32"}

M = TypeVar("M", bound=Message)
Descriptor: TypeAlias = Any
"""A message's descriptor; protobuf 4 to 7 share its interface, but not its class."""
FieldDescriptor: TypeAlias = Any


@dataclass(frozen=True)
class Where:
    """The file and line (1-based) that a message was read from."""

    file: str
    line: int


@dataclass(frozen=True)
class UnknownField:
    """A field, or an enum identifier, that Caffe 1.0 does not know; a field of a binary file has no place."""

    file: str | None
    line: int | None
    column: int | None
    field: str
    """Its name, or its number in a binary file."""
    text: str
    """The field in text format."""
    value: str | None = None
    """The unknown identifier of a known field; None for an unknown field."""
    suggestion: str | None = None
    """The nearest known field or identifier, or None."""

    def error(self, kind: type[CaffeCompatError] = NetError, *, layer: str | None = None) -> CaffeCompatError:
        """Return the error that refuses it."""
        problem = "Caffe 1.0 has no such field" if self.value is None else f"Caffe 1.0 has no such value: {self.value}"
        return kind(
            problem,
            code="field-unknown" if self.value is None else "name-unknown",
            file=self.file,
            line=self.line,
            column=self.column,
            layer=layer,
            field=self.field,
            hint=f"did you mean {self.suggestion!r}?" if self.suggestion else "it belongs to a fork of Caffe",
        )


def varint(value: int) -> bytes:
    """Return the base-128 form of a non-negative integer."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_MARK_TAG = varint(MARK_NUMBER << 3 | 2)


def mark_bytes(kind: bytes, payload: bytes) -> bytes:
    """Return the bytes of a mark in a serialised message."""
    return _MARK_TAG + varint(len(payload) + 1) + kind + payload


def add_mark(message: Message, kind: bytes, payload: bytes) -> None:
    """Add a mark to `message`."""
    message.MergeFromString(mark_bytes(kind, payload))


def marks(message: Message, kind: bytes) -> list[bytes]:
    """Return the payloads of one kind of marks in `message` itself, oldest first."""
    return [
        field.data[1:]
        for field in _fields(message)
        if field.field_number == MARK_NUMBER and field.wire_type == 2 and field.data[:1] == kind
    ]


def add_unknown_field(message: Message, file: str, line: int, column: int, field: str, text: str) -> None:
    """Add a mark with a field unknown to `message`."""
    add_mark(
        message, UNKNOWN, "\0".join((file, str(line), str(column), field, text)).encode("utf-8", "surrogateescape")
    )


def add_where(message: Message, file: str, line: int) -> None:
    """Add a mark with the place of `message`."""
    add_mark(message, WHERE, f"{file}\0{line}".encode("utf-8", "surrogateescape"))


def where(message: Message) -> Where | None:
    """Return the file and line that a layer was read from, or None.

    Layers (current and V1) read from text keep their place through copies and upgrades.
    """
    for payload in reversed(marks(message, WHERE)):
        file, _, line = payload.decode("utf-8", "surrogateescape").rpartition("\0")
        if line.isdecimal():
            return Where(file, int(line))
    return None


def unknown_fields(message: Message) -> tuple[UnknownField, ...]:
    """Return the fields and enum identifiers in `message` itself that Caffe 1.0 does not know.

    Those of a text file have a place; a binary file has a field's number only.
    """
    unknown = []
    for field in _fields(message):
        if field.field_number != MARK_NUMBER:
            unknown.append(_numbered(message.DESCRIPTOR, field.field_number, field.wire_type, field.data))
        elif field.wire_type == 2 and field.data[:1] == UNKNOWN:
            parts = field.data[1:].decode("utf-8", "surrogateescape").split("\0", 4)
            if len(parts) == 5 and parts[1].isdecimal() and parts[2].isdecimal():
                file, line, column, name, text = parts
                value, suggestion = _suggest(message.DESCRIPTOR, name, text)
                unknown.append(
                    UnknownField(file or None, int(line) or None, int(column) or None, name, text, value, suggestion)
                )
    return tuple(unknown)


def all_unknown_fields(message: Message, path: str = "") -> tuple[tuple[str, UnknownField], ...]:
    """Return (path of the message, field) for every unknown field in `message`, at any depth.

    A path reads ``layer[3].pooling_param``; that of the outermost message is empty.
    """
    return tuple((place, unknown) for place, part in walk(message, path) for unknown in unknown_fields(part))


def walk(message: Message, path: str = "") -> Iterator[tuple[str, Message]]:
    """Yield (path, message) for `message` and every message inside it, outermost first."""
    yield path, message
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        prefix = f"{path}.{field.name}" if path else field.name
        if repeated(field):
            for index, part in enumerate(value):
                yield from walk(part, f"{prefix}[{index}]")
        else:
            yield from walk(value, prefix)


def copied(message: M) -> M:
    """Return a copy of a message, its unknown fields included."""
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def plain(message: M, *, keep_unknown: bool = True) -> M:
    """Return a copy of `message` without the marks of its layers' places and, on demand, without unknown fields."""
    copy = copied(message)
    if not keep_unknown:
        copy.DiscardUnknownFields()
        return copy
    parts = [(part, _unknown(part, without=(WHERE, BLOB))) for _, part in walk(copy)]
    copy.DiscardUnknownFields()
    for part, unknown in parts:
        if unknown:
            part.MergeFromString(unknown)
    return copy


def same(first: Message, second: Message) -> bool:
    """Whether two messages are equal apart from their places; unknown fields are compared by their text."""
    if first.DESCRIPTOR.full_name != second.DESCRIPTOR.full_name:
        return False
    if plain(first, keep_unknown=False) != plain(second, keep_unknown=False):
        return False
    fields, others = ([(path, f.field, f.text) for path, f in all_unknown_fields(m)] for m in (first, second))
    return fields == others


def repeated(field: FieldDescriptor) -> bool:
    """Whether a field is repeated (spelled differently by the protobuf runtimes 4 to 7)."""
    if hasattr(field, "is_repeated"):
        return bool(field.is_repeated)
    return bool(field.label == field.LABEL_REPEATED)


def required(field: FieldDescriptor) -> bool:
    """Whether a field is required."""
    if hasattr(field, "is_required"):
        return bool(field.is_required)
    return bool(field.label == field.LABEL_REQUIRED)


def copy_unknown(source: Message, target: Message) -> None:
    """Add the marks and unknown fields of `source` to `target`, a message of the same type."""
    target.MergeFromString(_unknown(source))


def take_unknown(message: Message, numbers: set[int]) -> bytes:
    """Remove the unknown fields with these numbers from `message`; return their bytes."""
    taken = b"".join(
        _encoded(f.field_number, f.wire_type, f.data) for f in _fields(message) if f.field_number in numbers
    )
    if taken:
        others = b"".join(
            _encoded(f.field_number, f.wire_type, f.data) for f in _fields(message) if f.field_number not in numbers
        )
        inside = [(part, _unknown(part)) for path, part in walk(message) if path]
        message.DiscardUnknownFields()  # which recurses into parts
        for part, unknown in [(message, others), *inside]:
            if unknown:
                part.MergeFromString(unknown)
    return taken


def _fields(message: Message) -> Iterator[Any]:
    fields: Any = UnknownFieldSet(message)
    yield from fields


def _unknown(message: Message, without: tuple[bytes, ...] = ()) -> bytes:
    return b"".join(
        _encoded(f.field_number, f.wire_type, f.data)
        for f in _fields(message)
        if not (f.field_number == MARK_NUMBER and f.wire_type == 2 and f.data[:1] in without)
    )


def _encoded(number: int, wire_type: int, data: object) -> bytes:
    """Return the bytes of an unknown field."""
    tag = varint(number << 3 | wire_type)
    if isinstance(data, bytes):
        return tag + varint(len(data)) + data
    if isinstance(data, int):
        return tag + (varint(data) if wire_type == 0 else data.to_bytes(8 if wire_type == 1 else 4, "little"))
    inner = b"".join(_encoded(f.field_number, f.wire_type, f.data) for f in data)  # type: ignore[attr-defined]
    return tag + inner + varint(number << 3 | 4)


def _suggest(descriptor: Descriptor, name: str, text: str) -> tuple[str | None, str | None]:
    field = descriptor.fields_by_name.get(name)
    if field is None:
        return None, nearest(name, descriptor.fields_by_name)
    value = text.partition(":")[2].strip()
    return value, None if field.enum_type is None else nearest(value, field.enum_type.values_by_name)


def _numbered(descriptor: Descriptor, number: int, wire_type: int, data: object) -> UnknownField:
    size = f"{len(data)} bytes" if isinstance(data, bytes) else str(data) if isinstance(data, int) else "group"
    field = descriptor.fields_by_number.get(number)
    name = str(number) if field is None else field.name
    text = f"{name}: {size} ({_WIRE_NAMES.get(wire_type)})"
    value = size if field is not None and field.enum_type is not None else None
    return UnknownField(None, None, None, name, text, value)


def missing_fields(message: Message) -> list[str]:
    """Return the paths of required fields that `message` lacks."""
    return [
        f"{path}.{field.name}" if path else field.name
        for path, part in walk(message)
        for field in part.DESCRIPTOR.fields
        if required(field) and not part.HasField(field.name)
    ]
