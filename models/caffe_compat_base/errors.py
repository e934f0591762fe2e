"""Errors that name where the problem is and what would work.

Every error a user can cause is a :class:`CaffeCompatError`; its text is one line:
``file:line:column: layer 'conv1': convolution_param.pad = -1: problem (what would work)``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from functools import partial
from os import PathLike, fspath
from typing import Any, Literal

Code = Literal[
    "ambiguous",  # several readings are possible; the user must choose one
    "conflict",  # two options or fields exclude each other
    "cycle",
    "damaged-file",  # truncated, or its contents contradict each other
    "dependency-missing",  # an optional package or program is not installed
    "duplicate",
    "empty",
    "field-missing",
    "field-unknown",
    "file-missing",
    "file-unreadable",  # permissions, or not a regular file
    "file-unwritable",  # disk full, quota, permissions
    "foreign-files",  # the folder contains files that this command did not write
    "in-use",
    "interrupted",
    "invalid",  # a value that no other code describes
    "mismatch",  # files, nets or settings that should agree do not
    "name-unknown",  # layer, blob, recording, option value, ...
    "not-finite",
    "not-prepared",  # an earlier step has not been run
    "out-of-range",
    "several",  # a list of problems, each with its own code
    "shape-mismatch",
    "shape-unknown",  # neither the definition nor the data states the shape of an input
    "syntax",
    "too-large",
    "type-unknown",  # layer type
    "unsafe",  # would run code, or read files outside the one named
    "unsupported",
    "worker-lost",
    "wrong-count",
    "wrong-format",  # a file of another kind
    "wrong-type",  # a value of another type or dtype
]
"""Kind of problem that an error reports. Codes are stable; messages may be reworded."""


class CaffeCompatError(Exception):
    """An input of the user that cannot be used.

    Parameters
    ----------
    problem : what is wrong, one phrase.
    code : the kind of problem; stable, for programs and tests.
    file, line, column : where (1-based), if known.
    layer : name of the layer concerned.
    field : the message field or option concerned, dotted below the layer.
    value : the offending value.
    hint : what would work.
    """

    def __init__(
        self,
        problem: str,
        *,
        code: Code,
        file: str | PathLike[str] | None = None,
        line: int | None = None,
        column: int | None = None,
        layer: str | None = None,
        field: str | None = None,
        value: object = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.code = code
        self.file = None if file is None else fspath(file)
        self.line = line
        self.column = column
        self.layer = layer
        self.field = field
        self.value = value
        self.hint = hint

    @property
    def problems(self) -> Sequence[CaffeCompatError]:
        """The error itself; each of them where one error lists several."""
        return (self,)

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), code=self.code), (self.problem,), self.__dict__  # errors cross processes

    def __str__(self) -> str:
        parts = []
        if self.file is not None:
            parts.append(":".join(str(p) for p in (self.file, self.line, self.column) if p is not None))
        elif self.line is not None:
            parts.append(f"line {self.line}")
        if self.layer is not None:
            parts.append(f"layer {self.layer!r}")
        if self.field is not None:
            parts.append(self.field if self.value is None else f"{self.field} = {_short(self.value)}")
        elif self.value is not None:
            parts.append(_short(self.value))
        parts.append(self.problem)
        text = ": ".join(parts)
        return printable((f"{text} ({self.hint})" if self.hint else text).replace("\n", " "))


_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str, keep: str = "") -> str:
    """Escape a text's control characters, except those in `keep`, for a terminal, a log, a figure or a UTF-8 file.

    Names of layers and blobs may have any character, those of files also bytes that are not UTF-8, which are escaped.
    """
    return _CONTROL.sub(lambda m: m[0] if m[0] in keep else m[0].encode("unicode_escape").decode(), text)


_LONGEST_NAME = 200  # comparing takes time and memory proportional to the product of the lengths


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that a misspelt name most likely means, or None."""
    if len(name) > _LONGEST_NAME:
        return None
    names = sorted({candidate for candidate in candidates if len(candidate) <= _LONGEST_NAME})
    folded = {c.lower(): c for c in reversed(names)}
    if name.lower() in folded:
        return folded[name.lower()]
    matches = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return matches[0] if matches else None


def did_you_mean(name: str, candidates: Iterable[str]) -> str | None:
    """Return ``did you mean 'x'?`` for the nearest candidate, or None."""
    match = nearest(name, candidates)
    return None if match is None else f"did you mean {match!r}?"


def _short(value: object, limit: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."
