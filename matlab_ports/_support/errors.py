"""The error that the ports raise for whatever a user can put right; its fields and text are those of the engine's."""

from __future__ import annotations

import re
from functools import partial
from os import PathLike, fspath
from typing import Any, Literal

Code = Literal[
    "ambiguous",  # several readings are possible; the user must choose one
    "conflict",  # two options exclude each other
    "damaged-file",  # truncated, or its contents contradict each other
    "dependency-missing",  # an optional package is not installed
    "empty",
    "field-missing",
    "file-missing",
    "file-unreadable",
    "file-unwritable",  # disk full, quota, permissions
    "in-use",
    "invalid",  # a value that no other code describes
    "mismatch",  # arrays or files that should agree do not
    "name-unknown",
    "not-finite",
    "out-of-range",
    "shape-mismatch",
    "syntax",
    "too-large",
    "unsafe",  # would read files outside the one named
    "unsupported",
    "wrong-count",
    "wrong-format",  # a file of another kind
    "wrong-type",  # a value of another type or dtype
]
"""What kind of problem an error reports. Codes are stable, and the engine spells them alike; messages may change."""


class PortError(ValueError):
    """Something in the caller's input that cannot be used.

    Its text is one line: ``file:line: field = value: problem (hint)``.

    Parameters
    ----------
    problem : what is wrong, one phrase.
    code : the kind of problem; stable, for programs and tests.
    file, line : where (1-based), if known.
    field : the argument, option or variable concerned.
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
        field: str | None = None,
        value: object = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.code = code
        self.file = None if file is None else fspath(file)
        self.line = line
        self.field = field
        self.value = value
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(PortError, code=self.code), (self.problem,), self.__dict__

    def __str__(self) -> str:
        parts = []
        if self.file is not None:
            parts.append(self.file if self.line is None else f"{self.file}:{self.line}")
        elif self.line is not None:
            parts.append(f"line {self.line}")
        if self.field is not None:
            parts.append(self.field if self.value is None else f"{self.field} = {_short(self.value)}")
        elif self.value is not None:
            parts.append(_short(self.value))
        parts.append(self.problem)
        text = ": ".join(parts)
        return _printable((f"{text} ({self.hint})" if self.hint else text).replace("\n", " "))


_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def _printable(text: str) -> str:
    """Return text with characters that control a terminal as escapes."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def _short(value: object, limit: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."
