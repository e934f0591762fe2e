"""Parse protobuf text, as in a prototxt, into a message, and format a message as text, spelled as by Caffe's tools.

Fields and enum identifiers unknown to Caffe 1.0 are kept inside the message (:mod:`caffe_compat.formats.extras`). Text
that ``google::protobuf::TextFormat`` refuses otherwise is refused here, with line and column.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
from google.protobuf.descriptor import FieldDescriptor as F
from google.protobuf.message import Message

from caffe_compat.errors import Code, ParseError, did_you_mean
from caffe_compat.formats.extras import (
    Descriptor,
    FieldDescriptor,
    add_unknown_field,
    add_where,
    missing_fields,
    repeated,
    unknown_fields,
)
from caffe_compat.formats.tokens import SourceText, Token, tokenize, unquote
from caffe_compat.schema.old_names import V1_TYPES

DEPTH_LIMIT = 100  # protobuf's own limit for binary messages
M = TypeVar("M", bound=Message)

_RANGES = {
    F.TYPE_INT32: (-(2**31), 2**31 - 1),
    F.TYPE_INT64: (-(2**63), 2**63 - 1),
    F.TYPE_UINT32: (0, 2**32 - 1),
    F.TYPE_UINT64: (0, 2**64 - 1),
}
_INTEGER = re.compile("0x[0-9a-f]{1,40}|0[0-7]{0,40}|[1-9][0-9]{0,40}")
_FLOATS = (F.TYPE_FLOAT, F.TYPE_DOUBLE)
_BOOLS = {"true": True, "t": True, "True": True, "false": False, "f": False, "False": False}
_CLOSES = {"{": "}", "<": ">"}
_LOCATED = ("LayerParameter", "V1LayerParameter")


def parse_text(text: str, cls: type[M], *, file: str = "<string>") -> M:
    """Parse text into a message; `file` is the name for errors, which have line and column, and places of layers."""
    source = SourceText(text.removeprefix("\ufeff"), file)
    message = cls()
    _Parser(source).fields(message, None)
    if not message.IsInitialized():
        raise ParseError("lacks a required field", code="field-missing", file=file, field=missing_fields(message)[0])
    return message


class _Parser:
    def __init__(self, source: SourceText) -> None:
        self.source = source
        self.tokens = tokenize(source)
        self.place = 0
        self.path: list[str] = []

    # Fields.

    def fields(self, message: Message, closing: str | None) -> None:
        """Read fields into `message` up to `closing` (None: the end of the text)."""
        while True:
            token = self.tokens[self.place]
            if token.text == closing and token.kind == "sign":
                self.place += 1
                return
            if token.kind == "end":
                if closing is None:
                    return
                raise self.error(token, f"expected {closing!r} before the end of the text")
            self.field(message, token)
            if self.tokens[self.place].kind == "sign" and self.tokens[self.place].text in ";,":
                self.place += 1

    def field(self, message: Message, token: Token) -> None:
        name = self.field_name(token)
        field = message.DESCRIPTOR.fields_by_name.get(name)
        self.path.append(name)
        if len(self.path) > DEPTH_LIMIT:
            raise self.error(token, f"messages nest deeper than {DEPTH_LIMIT}", code="too-large")
        if field is None:
            self.keep(message, token, "\n".join(self.unknown(name, message.DESCRIPTOR)))
        else:
            if not repeated(field) and message.HasField(name):
                raise self.error(token, "is given twice, expected one value", code="duplicate", field=True)
            if field.message_type is None:
                self.scalar_field(message, field, token)
            else:
                self.message_field(message, field, token)
        self.path.pop()

    def field_name(self, token: Token) -> str:
        if token.kind == "name":
            self.place += 1
            return token.text
        if token.text == "[" and token.kind == "sign":  # an extension, of a fork
            parts = [token.text]
            while parts[-1] != "]":
                self.place += 1
                part = self.tokens[self.place]
                if part.kind != "name" and part.text not in ("]", ".", "/"):
                    raise self.error(part, "invalid name of an extension")
                parts.append(part.text)
            self.place += 1
            return "".join(parts)
        raise self.error(token, f"expected a field name, got {_format_token(token)}")

    def message_field(self, message: Message, field: FieldDescriptor, token: Token) -> None:
        self.accept(":")
        if repeated(field):
            for opening in self.items():
                self.body(getattr(message, field.name).add(), opening, token)
        else:
            part = getattr(message, field.name)
            part.SetInParent()
            self.body(part, self.next(), token)

    def body(self, part: Message, opening: Token, name: Token) -> None:
        if opening.kind != "sign" or opening.text not in _CLOSES:
            raise self.error(opening, f"expected '{{', got {_format_token(opening)}", field=True)
        if part.DESCRIPTOR.name in _LOCATED:
            add_where(part, self.source.file, self.source.position(name.start)[0])
        self.fields(part, _CLOSES[opening.text])
        if not part.IsInitialized():
            missing = ", ".join(missing_fields(part))
            raise self.error(name, f"lacks the required field {missing}", code="field-missing", field=True)

    def scalar_field(self, message: Message, field: FieldDescriptor, token: Token) -> None:
        if not self.accept(":"):
            raise self.error(self.tokens[self.place], f"expected ':' after {field.name!r}", field=True)
        if repeated(field):
            values = getattr(message, field.name)
            for first in self.items():
                value = self.scalar(message, field, first, token)
                if value is not None:
                    values.append(value)
        else:
            value = self.scalar(message, field, self.next(), token)
            if value is not None:
                setattr(message, field.name, value)

    def items(self) -> Any:
        """Yield the first token of a single value, or of each value in a list."""
        token = self.next()
        if token.text != "[" or token.kind != "sign":
            yield token
            return
        if self.accept("]"):
            return
        while True:
            yield self.next()
            if self.accept("]"):
                return
            if not self.accept(","):
                token = self.tokens[self.place]
                raise self.error(token, f"expected ',' or ']' in a list, got {_format_token(token)}", field=True)

    # Values.

    def scalar(self, message: Message, field: FieldDescriptor, token: Token, name: Token) -> Any:
        """Return the value that begins with `token`, or None if it is an unknown identifier, which is kept."""
        kind = field.type
        if kind in (F.TYPE_STRING, F.TYPE_BYTES):
            return self.string(token, text=kind == F.TYPE_STRING)
        if kind in _FLOATS:
            return self.number(token)
        if kind == F.TYPE_BOOL:
            if token.kind == "name" and token.text in _BOOLS:
                return _BOOLS[token.text]
            if token.kind == "number" and _INTEGER.fullmatch(token.text.lower()):
                return bool(self.integer(token, 0, 1))
            raise self.error(token, f"expected true or false, got {_format_token(token)}", field=True)
        if kind == F.TYPE_ENUM:
            return self.enum(message, field, token, name)
        return self.integer(token, *_RANGES[kind])

    def string(self, token: Token, *, text: bool) -> str | bytes:
        if token.kind != "string":
            hint = f'write "{V1_TYPES.get(token.text, token.text)}"' if token.kind in ("name", "number") else None
            raise self.error(token, f"expected a quoted string, got {_format_token(token)}", field=True, hint=hint)
        value = unquote(self.source, token)
        while self.tokens[self.place].kind == "string":
            value += unquote(self.source, self.next())
        if not text:
            return value
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise self.error(token, "the string is not UTF-8", field=True) from None

    def number(self, token: Token) -> float:
        sign, token = self.sign(token)
        word = token.text.lower()
        if token.kind == "name" and word in ("inf", "infinity", "nan"):
            return sign * float(word)
        octal = len(word) > 1 and word[0] == "0" and word.isdecimal()
        if token.kind != "number" or word.startswith("0x") or octal:
            raise self.error(token, f"expected a number, got {_format_token(token)}", field=True)
        return sign * float(word.rstrip("f"))

    def integer(self, token: Token, low: int, high: int) -> int:
        start = token
        sign, token = self.sign(token)
        word = token.text.lower()
        if token.kind != "number" or not _INTEGER.fullmatch(word):
            raise self.error(token, f"expected an integer, got {_format_token(token)}", field=True)
        value = sign * int(word, 16 if word.startswith("0x") else 8 if word[0] == "0" else 10)
        if not low <= value <= high:
            raise self.error(start, f"{value} is out of range {low} to {high}", code="out-of-range", field=True)
        return value

    def enum(self, message: Message, field: FieldDescriptor, token: Token, name: Token) -> int | None:
        kind = field.enum_type
        assert kind is not None
        if token.kind == "name":
            value = kind.values_by_name.get(token.text)
            if value is not None:
                return int(value.number)
            identifier = token.text
        elif token.kind == "number" or token.text == "-":
            number = self.integer(token, -(2**31), 2**31 - 1)
            if number in kind.values_by_number:
                return number
            identifier = str(number)
        else:
            hint = did_you_mean(token.text[1:-1], kind.values_by_name) if token.kind == "string" else None
            hint = hint or f"use {', '.join(kind.values_by_name)}"
            raise self.error(token, f"expected an identifier, got {_format_token(token)}", field=True, hint=hint)
        self.keep(message, name, f"{field.name}: {identifier}")
        return None

    def sign(self, token: Token) -> tuple[int, Token]:
        return (-1, self.next()) if token.text == "-" and token.kind == "sign" else (1, token)

    # Unknown fields.

    def keep(self, message: Message, token: Token, text: str) -> None:
        line, column = self.source.position(token.start)
        add_unknown_field(message, self.source.file, line, column, self.path[-1], text)

    def unknown(self, name: str, descriptor: Descriptor | None = None) -> list[str]:
        """Return the lines of an unknown field, spelled canonically."""
        colon = self.accept(":")
        token = self.next()
        if token.kind == "sign" and token.text in _CLOSES:
            return [f"{name} {{", *(f"  {line}" for line in self.unknown_body(_CLOSES[token.text])), "}"]
        if token.kind == "sign" and token.text == "[":
            return [f"{name}: {self.unknown_list(token)}"]
        if not colon:
            hint = did_you_mean(name, descriptor.fields_by_name) if descriptor else None
            raise self.error(token, f"expected ':' or '{{' after {name!r}", field=True, hint=hint)
        return [f"{name}: {self.unknown_scalar(token)}"]

    def unknown_body(self, closing: str) -> list[str]:
        lines: list[str] = []
        while not self.accept(closing):
            token = self.tokens[self.place]
            if token.kind == "end":
                raise self.error(token, f"expected {closing!r} before the end of the text", field=True)
            name = self.field_name(token)
            self.path.append(name)
            if len(self.path) > DEPTH_LIMIT:
                raise self.error(token, f"messages nest deeper than {DEPTH_LIMIT}", code="too-large")
            lines += self.unknown(name)
            self.path.pop()
            _ = self.accept(";") or self.accept(",")
        return lines

    def unknown_list(self, token: Token) -> str:
        parts = []
        if self.accept("]"):
            return "[]"
        while True:
            token = self.next()
            if token.kind == "sign" and token.text in _CLOSES:
                parts.append(f"{{ {' '.join(line.strip() for line in self.unknown_body(_CLOSES[token.text]))} }}")
            else:
                parts.append(self.unknown_scalar(token))
            if self.accept("]"):
                return f"[{', '.join(parts)}]"
            if not self.accept(","):
                token = self.tokens[self.place]
                raise self.error(token, f"expected ',' or ']' in a list, got {_format_token(token)}", field=True)

    def unknown_scalar(self, token: Token) -> str:
        sign, token = self.sign(token)
        if token.kind not in (("name", "number") if sign < 0 else ("name", "number", "string")):
            raise self.error(token, f"expected a value, got {_format_token(token)}", field=True)
        parts = [token.text]
        while token.kind == "string" and self.tokens[self.place].kind == "string":
            parts.append(self.next().text)
        return ("-" if sign < 0 else "") + " ".join(parts)

    # Tokens.

    def next(self) -> Token:
        token = self.tokens[self.place]
        if token.kind != "end":
            self.place += 1
        return token

    def accept(self, sign: str) -> bool:
        token = self.tokens[self.place]
        if token.text == sign and token.kind == "sign":
            self.place += 1
            return True
        return False

    def error(
        self, token: Token, problem: str, *, code: Code = "syntax", field: bool = False, hint: str | None = None
    ) -> ParseError:
        path = ".".join(self.path) if field else None
        return self.source.error(token.start, problem, code=code, field=path, hint=hint)


def _format_token(token: Token) -> str:
    if token.kind == "end":
        return "the end of the text"
    return token.text if len(token.text) <= 40 else token.text[:37] + "..."


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
    F.TYPE_BOOL: lambda value: "true" if value else "false",
    F.TYPE_FLOAT: _spell_float,
    F.TYPE_DOUBLE: _spell_double,
    F.TYPE_STRING: _spell_string,
    F.TYPE_BYTES: _spell_string,
}
