"""The line of each field of a prototxt."""

from __future__ import annotations

from collections.abc import Mapping

from caffe_compat.formats.tokens import SourceText, Token, tokenize


def field_lines(text: str, file: str) -> dict[tuple[int, str], int]:
    """Return (first line of the layer, or 0; path below it) -> line, the first of a repeated field."""
    source = SourceText(text.removeprefix("\ufeff"), file)
    tokens = tokenize(source)
    lines: dict[tuple[int, str], int] = {}
    open_: list[tuple[str, int]] = []
    index = 0
    while tokens[index].kind != "end":
        token = tokens[index]
        index += 1
        if token.kind == "sign" and token.text in "}>" and open_:
            open_.pop()
        if token.kind != "name":
            continue
        line = source.position(token.start)[0]
        in_layer = bool(open_) and open_[0][0] in ("layer", "layers")
        path = ".".join([*(name for name, _ in open_[in_layer:]), token.text])
        lines.setdefault((open_[0][1] if in_layer else 0, path), line)
        index = _value(tokens, index)
        if tokens[index - 1].text in ("{", "<") and tokens[index - 1].kind == "sign":
            open_.append((token.text, line))
    return lines


def _value(tokens: list[Token], index: int) -> int:
    """Return the index of the token after a field's value, or after its opening brace."""
    if tokens[index].text == ":" and tokens[index].kind == "sign":
        index += 1
    if tokens[index].text == "[" and tokens[index].kind == "sign":
        depth = 1
        while depth and tokens[index].kind != "end":
            index += 1
            depth += {"[": 1, "]": -1}.get(tokens[index].text, 0) if tokens[index].kind == "sign" else 0
        return index + (tokens[index].kind != "end")
    index += tokens[index].text == "-"
    return index + (tokens[index].kind != "end")


def line_of(lines: Mapping[tuple[int, str], int], layer_line: int, field: str) -> int:
    """Return the line of a field, or the line its layer begins on."""
    return lines.get((layer_line, field), layer_line)
