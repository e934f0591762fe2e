"""Format a message as protobuf text, spelled as by Caffe's tools."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor as F
from google.protobuf.message import Message

from caffe_compat.formats.extras import repeated, unknown_fields

_ESCAPES = {"\n": r"\n", "\r": r"\r", "\t": r"\t", '"': r"\"", "'": r"\'", "\\": r"\\"}


def format_text(message: Message) -> str:
    """Return `message` in text format, which parses back into an equal message.

    Unknown fields read from text are written last in their message, as they were read. Unknown fields of a binary file
    have no name and are written as comments. Values in a `BlobStore` are not written.
    """
    return "".join(f"{line}\n" for line in _lines(message))


def _lines(message: Message) -> Iterator[str]:
    for field, value in message.ListFields():
        values = value if repeated(field) else (value,)
        if field.message_type is None:
            spell = _SPELLINGS.get(field.type, str)
            if field.enum_type is not None:
                names = field.enum_type.values_by_number
                yield from (f"{field.name}: {names[v].name if v in names else v}" for v in values)
            else:
                yield from (f"{field.name}: {spell(v)}" for v in values)
        else:
            for part in values:
                yield f"{field.name} {{"
                yield from (f"  {line}" for line in _lines(part))
                yield "}"
    for unknown in unknown_fields(message):
        if unknown.file is None:
            yield f"# unknown field {unknown.text}"
        else:
            yield from unknown.text.split("\n")


def _spell_bool(value: bool) -> str:  # noqa: FBT001
    return "true" if value else "false"


def _spell_float(value: float) -> str:
    """Format a float with 6 digits, or 9 if 6 do not determine it, as in the C++ protobuf of Caffe's time."""
    short = f"{value:.6g}"
    return short if np.float32(short) == np.float32(value) or value != value else f"{value:.9g}"


def _spell_double(value: float) -> str:
    short = f"{value:.15g}"
    return short if float(short) == value or value != value else f"{value:.17g}"


def _spell_string(value: str | bytes) -> str:
    if isinstance(value, bytes):
        return (
            '"'
            + "".join(_ESCAPES.get(chr(b)) or (chr(b) if 32 <= b < 127 else _octal(bytes([b]))) for b in value)
            + '"'
        )
    return '"' + "".join(_ESCAPES.get(c) or (c if c.isprintable() else _octal(c.encode())) for c in value) + '"'


def _octal(value: bytes) -> str:
    return "".join(f"\\{byte:03o}" for byte in value)


_SPELLINGS: dict[int, Callable[[Any], str]] = {
    F.TYPE_BOOL: _spell_bool,
    F.TYPE_FLOAT: _spell_float,
    F.TYPE_DOUBLE: _spell_double,
    F.TYPE_STRING: _spell_string,
    F.TYPE_BYTES: _spell_string,
}
