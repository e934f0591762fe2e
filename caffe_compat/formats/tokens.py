"""Split protobuf text into tokens."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import NamedTuple

from caffe_compat.errors import Code, ParseError

# Possessive quantifiers: backtracking into a string would need 264 bytes for each of its characters.
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
# U+DC80 to U+DCFF represent bytes that are not UTF-8.
_SURROGATE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_PLAIN = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}


class Token(NamedTuple):
    """One token: its kind (``name number string sign end``), its text, and where it begins."""

    kind: str
    text: str
    start: int


class SourceText:
    """A text, with the line and column of every offset."""

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
        self, start: int, problem: str, *, code: Code = "syntax", field: str | None = None, hint: str | None = None
    ) -> ParseError:
        """Return an error with the line and column of an offset."""
        line, column = self.position(start)
        return ParseError(problem, code=code, file=self.file, line=line, column=column, field=field, hint=hint)


def tokenize(source: SourceText) -> list[Token]:
    """Return the tokens of a text without comments and spaces, with an ``end`` token last."""
    text, match = source.text, _TOKEN.match
    surrogate = _SURROGATE.search(text)
    if surrogate:
        raise source.error(surrogate.start(), "unpaired surrogate")
    tokens, place = [], 0
    while place < len(text):
        token = match(text, place)
        if token is None:
            raise source.error(place, _describe_invalid(text, place))
        kind = token.lastgroup
        if kind != "space" and kind != "comment":
            assert kind is not None
            tokens.append(Token(kind, token.group(), place))
        place = token.end()
    tokens.append(Token("end", "", len(text)))
    return tokens


def unquote(source: SourceText, token: Token) -> bytes:
    """Return the bytes that a string token denotes."""
    body = token.text[1:-1]
    if "\\" not in body:
        return body.encode("utf-8", "surrogateescape")
    out, place = [], 0
    for escape in _ESCAPE.finditer(body):
        out.append(body[place : escape.start()].encode("utf-8", "surrogateescape"))
        out.append(_unescape(source, token, escape))
        place = escape.end()
    out.append(body[place:].encode("utf-8", "surrogateescape"))
    return b"".join(out)


def _unescape(source: SourceText, token: Token, escape: re.Match[str]) -> bytes:
    kind, digits = escape.lastgroup, escape.group(escape.lastgroup or 0)
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
    problem, hint = f"{escape.group()!r} is not an escape sequence", r"write a backslash as \\"
    raise source.error(token.start + 1 + escape.start(), problem, hint=hint)


def _describe_invalid(text: str, place: int) -> str:
    char = text[place]
    if char in "\"'":
        return "the string is not closed on its line"
    if char.isdecimal():
        word = re.compile(r"[\w.]+").match(text, place)
        return f"{word.group() if word else char!r} is not a number"
    if "\udc80" <= char <= "\udcff":
        return f"unexpected byte 0x{ord(char) - 0xDC00:02x}, expected UTF-8"
    return f"unexpected character {char!r}"
