"""The rules of lint, their findings, and the line of each field of a prototxt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from caffe_compat.errors import printable
from caffe_compat.formats.tokens import SourceText, Token, tokenize

RULES: dict[str, str] = {
    "parse": "the file cannot be read",
    "build": "the net cannot be built in a phase",
    "shapes": "an input of unknown shape: rules that need shapes were not checked",
    "fork": "a field or value that Caffe 1.0 does not know",
    "deprecated": "an outdated format or field",
    "ignored-field": "a field that has no effect for this layer type or policy",
    "pool-rounds-up": "a pooling layer whose last window extends beyond the border",
    "in-place": "a layer that overwrites values needed by another layer or by its own backward pass",
    "in-place-input": "a layer that overwrites a blob that is never refilled",
    "unused-top": "a blob that no layer reads",
    "never-built": "a layer that no phase includes",
    "no-gradient": "parameters that no loss reaches",
    "no-loss": "a training net without a loss",
    "loss-weight": "a loss with weight 0",
    "double-activation": "a loss after an activation that it already contains or must not follow",
    "batch-norm-alone": "BatchNorm without a Scale layer to learn scale and shift",
    "batch-norm-statistics": "BatchNorm with the wrong use_global_stats for the phase",
    "batch-norm-rate": "BatchNorm with a learning rate for its statistics",
    "batch-norm-bias": "a bias that the following BatchNorm removes",
    "dropout": "a Dropout layer that drops nothing",
    "zero-weights": "weights that are all initialized to zero",
    "duplicate-name": "two layers with the same name",
    "test-augmented": "random mirroring or shuffling of test data",
    "train-test": "preprocessing that differs between training and testing",
    "no-data": "a file that does not exist",
    "weights-missing": "a layer that the weights do not contain",
    "weights-left-over": "a layer of the weights that the net does not contain",
    "weights-mismatch": "a layer whose weights have another shape",
    "weights-not-finite": "a blob of the weights with NaN or infinite values",
    "solver": "a solver that cannot start",
    "solver-tests": "tests that never run, or lack test_iter",
    "solver-steps": "learning rate steps that are missing, out of order or never reached",
    "solver-snapshots": "snapshots that are never taken",
}
"""Rule -> its subject."""

LEVELS = ("error", "warning", "note")
"""error: Caffe or this engine stops. warning: probably a mistake. note: worth knowing."""


@dataclass(frozen=True)
class Finding:
    """A finding of a rule: the problem, one phrase, its effect and its remedy."""

    rule: str
    """Key of RULES."""
    level: str
    """"error", "warning" or "note"."""
    problem: str
    why: str
    hint: str
    file: str = ""
    line: int = 0
    """0 if unknown."""
    layer: str = ""
    phase: str = field(default="", compare=False)
    """"" for all phases."""

    def __post_init__(self) -> None:
        assert self.rule in RULES, self.rule
        assert self.level in LEVELS, self.level

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        layer = f"layer {self.layer!r}: " if self.layer else ""
        phase = f" ({self.phase})" if self.phase else ""
        lines = [f"{place}: {self.level}: {layer}{self.problem}{phase} [{self.rule}]"]
        lines += [f"    {text}" for text in (self.why, self.hint) if text]
        return "\n".join(map(printable, lines))


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
