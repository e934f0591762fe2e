"""Tokens of the protobuf text format, each with its line and column."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import NamedTuple

from caffe_compat.errors import ParseError

# Possessive: what a string can go back to would take 264 bytes for each of its characters.
_TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<comment>\#[^\n]*)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<number>(?:0[xX][0-9a-fA-F]+|(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[fF]?)(?![\w.]))
    |(?P<string>"(?:[^"\\\n]++|\\.)*+"|'(?:[^'\\\n]++|\\.)*+')
    |(?P<sign>[{}<>\[\]:;,./-])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(
    r"\\(?:(?P<octal>[0-7]{1,3})|[xX](?P<hex>[0-9a-fA-F]{1,2})|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8})"
    r"|(?P<plain>[abfnrtv\\'\"?])|(?P<bad>.?))",
    re.DOTALL,
)
# Those from U+DC80 to U+DCFF stand for bytes that are not UTF-8.
_HALF = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_PLAIN = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}


class Token(NamedTuple):
    """One token: its kind (``name number string sign end``), its text, and where it begins."""

    kind: str
    text: str
    start: int


class Source:
    """A text that can tell the line and column of any place in it."""

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self._lines: list[int] | None = None

    def position(self, start: int) -> tuple[int, int]:
        """Return the 1-based line and column of an offset."""
        if self._lines is None:
            self._lines = [0, *(m.end() for m in re.finditer("\n", self.text))]
        line = bisect_right(self._lines, start)
        return line, start - self._lines[line - 1] + 1

    def error(
        self, start: int, problem: str, *, field: str | None = None, value: object = None, hint: str | None = None
    ) -> ParseError:
        """Return an error that names the place of an offset."""
        line, column = self.position(start)
        return ParseError(problem, file=self.file, line=line, column=column, field=field, value=value, hint=hint)


def tokenize(source: Source) -> list[Token]:
    """Return the tokens of a text, comments and spaces left out, an ``end`` token last."""
    text, match = source.text, _TOKEN.match
    half = _HALF.search(text)
    if half:
        raise source.error(half.start(), "half of a surrogate pair is no character")
    tokens, place = [], 0
    while place < len(text):
        found = match(text, place)
        if found is None:
            raise source.error(place, *_unreadable(text, place))
        kind = found.lastgroup
        if kind != "space" and kind != "comment":
            assert kind is not None
            tokens.append(Token(kind, found.group(), place))
        place = found.end()
    tokens.append(Token("end", "", len(text)))
    return tokens


def unquote(source: Source, token: Token) -> bytes:
    """Return what a string token stands for."""
    body = token.text[1:-1]
    if "\\" not in body:
        return body.encode("utf-8", "surrogateescape")
    out, place = [], 0
    for found in _ESCAPE.finditer(body):
        out.append(body[place : found.start()].encode("utf-8", "surrogateescape"))
        out.append(_escaped(source, token, found))
        place = found.end()
    out.append(body[place:].encode("utf-8", "surrogateescape"))
    return b"".join(out)


def _escaped(source: Source, token: Token, found: re.Match[str]) -> bytes:
    kind, digits = found.lastgroup, found.group(found.lastgroup or 0)
    if kind == "plain":
        return bytes([_PLAIN.get(digits, ord(digits))])
    if kind == "octal" and int(digits, 8) < 256:
        return bytes([int(digits, 8)])
    if kind == "hex":
        return bytes([int(digits, 16)])
    if kind in ("short", "long"):
        number = int(digits, 16)
        if number < 0x110000 and not 0xD800 <= number < 0xE000:
            return chr(number).encode()
    raise source.error(
        token.start + 1 + found.start(), f"{found.group()!r} is no escape sequence", hint=r"a backslash is written \\"
    )


def _unreadable(text: str, place: int) -> tuple[str]:
    char = text[place]
    if char in "\"'":
        return ("this string is not closed on its line",)
    if char.isdecimal():
        word = re.compile(r"[\w.]+").match(text, place)
        return (f"{word.group() if word else char!r} is not a number",)
    if "\udc80" <= char <= "\udcff":
        return (f"byte 0x{ord(char) - 0xDC00:02x} does not belong in a text file",)
    return (f"{char!r} does not belong here",)
