"""The engine's errors, by what they concern; see :mod:`caffe_compat_base.errors`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caffe_compat_base.errors import CaffeCompatError, Code, did_you_mean, nearest, printable

__all__ = [
    "CaffeCompatError",
    "Code",
    "DataError",
    "FileError",
    "NetError",
    "ParseError",
    "ProblemsError",
    "SolverError",
    "WeightsError",
    "did_you_mean",
    "nearest",
    "printable",
    "raise_together",
]


class FileError(CaffeCompatError):
    """A file that is missing, damaged or of the wrong kind."""


class ParseError(FileError):
    """Text or bytes that do not follow their format."""


class NetError(CaffeCompatError):
    """A net that cannot be built."""


class WeightsError(CaffeCompatError):
    """Weights that do not fit the net."""


class DataError(CaffeCompatError):
    """Training or test data that cannot be read."""


class SolverError(CaffeCompatError):
    """A solver definition or state that cannot be used."""


class ProblemsError(CaffeCompatError):
    """All problems found in one pass, one per line."""

    problems: Sequence[CaffeCompatError] = ()

    def __init__(self, problems: Sequence[CaffeCompatError]) -> None:
        super().__init__(f"{len(problems)} problems", code="several")
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problems,)

    def __str__(self) -> str:
        return "\n  ".join([f"{len(self.problems)} problems:", *map(str, self.problems)])


def raise_together(problems: Sequence[CaffeCompatError]) -> None:
    """Raise the only problem, or one error that lists all of them; do nothing if there are none."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise ProblemsError(problems)
