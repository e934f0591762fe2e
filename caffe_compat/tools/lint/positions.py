"""Where each field of a prototxt stands."""

from __future__ import annotations

from collections.abc import Mapping

from caffe_compat.formats.tokens import Source, Token, tokenize


def field_lines(text: str, file: str) -> dict[tuple[int, str], int]:
    """Return the line of every field, of a text that parses.

    Returns
    -------
    (line where the layer begins, or 0 outside of layers; path below it) -> line. Of a repeated field the first.
    """
    source = Source(text.removeprefix("\ufeff"), file)
    tokens = tokenize(source)
    found: dict[tuple[int, str], int] = {}
    open_: list[tuple[str, int]] = []
    place = 0
    while tokens[place].kind != "end":
        token = tokens[place]
        place += 1
        if token.kind == "sign" and token.text in "}>" and open_:
            open_.pop()
        if token.kind != "name":
            continue
        line = source.position(token.start)[0]
        in_layer = bool(open_) and open_[0][0] in ("layer", "layers")
        path = ".".join([*(name for name, _ in open_[in_layer:]), token.text])
        found.setdefault((open_[0][1] if in_layer else 0, path), line)
        place = _value(tokens, place)
        if tokens[place - 1].text in ("{", "<") and tokens[place - 1].kind == "sign":
            open_.append((token.text, line))
    return found


def _value(tokens: list[Token], place: int) -> int:
    """Return the place after a field's value, or after the brace that opens it."""
    if tokens[place].text == ":" and tokens[place].kind == "sign":
        place += 1
    if tokens[place].text == "[" and tokens[place].kind == "sign":
        depth = 1
        while depth and tokens[place].kind != "end":
            place += 1
            depth += {"[": 1, "]": -1}.get(tokens[place].text, 0) if tokens[place].kind == "sign" else 0
        return place + (tokens[place].kind != "end")
    place += tokens[place].text == "-"
    return place + (tokens[place].kind != "end")


def line_of(lines: Mapping[tuple[int, str], int], layer_line: int, field: str) -> int:
    """Return the line of a field, or the line its layer begins on."""
    return lines.get((layer_line, field), layer_line)
