"""Tables of text (CSV and its relatives); errors name file, line, column and value."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import Code, ParseError
from caffe_compat.formats.files import read_bytes

Doubles = npt.NDArray[np.float64]
SEPARATORS = ";,\t"
_MISSING = ("", "?")
_LISTED = 8  # columns that a hint names


@dataclass(frozen=True)
class Row:
    """A row: the text of its cells, stripped; names of columns are found ignoring case."""

    path: Path
    line: int
    columns: tuple[str, ...]
    cells: tuple[str, ...]

    def __getitem__(self, column: str) -> str:
        return self.cells[self.columns.index(column.lower())]

    def number(self, column: str, hint: str | None = None) -> float:
        """Return the finite number in a column; refuse an empty cell, and one that is not a finite number."""
        text = self[column]
        if not text:
            raise self.error("is empty, expected a number", "field-missing", column, hint=hint)
        value = self._float(text, column, hint)
        if not math.isfinite(value):
            raise self.error("is not finite", "not-finite", column, hint=hint)
        return value

    def number_or_nan(self, column: str) -> float:
        """Return the number in a column; NaN for ``NaN``, ``?`` and an empty cell."""
        text = self[column]
        return math.nan if text in _MISSING else self._float(text, column)

    def error(self, problem: str, code: Code, column: str, *, hint: str | None = None) -> ParseError:
        """Return an error about the cell in a column."""
        position = self.columns.index(column.lower())
        return ParseError(
            problem, code=code, file=self.path, line=self.line, column=position + 1, field=column,
            value=self.cells[position], hint=hint,
        )  # fmt: skip

    def _float(self, text: str, column: str, hint: str | None = None) -> float:
        try:
            return float(text)
        except ValueError:
            raise self.error("is not a number", "syntax", column, hint=hint) from None


@dataclass(frozen=True)
class Table:
    """A table with a header; names of columns are in lower case."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    @classmethod
    def read(
        cls, path: str | Path, required: Iterable[str] = (), *, separators: str = SEPARATORS, hint: str | None = None
    ) -> Table:
        """Read a table separated by one of some characters, the most frequent in the header; blank rows are skipped.

        `required` columns must exist. `hint` is what would work instead, for errors about the whole file: one that is
        not text, has no rows, lacks a column, names one twice or has a row of another length.
        """
        path = Path(path)
        lines = read_cells(path, separators, hint=hint)
        line, header = next(lines, (None, ()))
        table = cls.of(path, header, lines, line=line, hint=hint)
        for name in required:
            if name.lower() not in table.columns:
                expected = hint or f"expected {', '.join(required)}"
                expected += f"; the columns are {_listed(table.columns)}"
                raise ParseError(
                    "missing column", code="field-missing", file=path, line=line, field=name, hint=expected
                )
        return table

    @classmethod
    def of(
        cls, path: Path, header: Iterable[str], lines: Iterable[tuple[int, tuple[str, ...]]], *, line: int | None,
        hint: str | None = None,
    ) -> Table:  # fmt: skip
        """Check rows, (line, cells) each, against their header, which is on `line`; see `read`."""
        columns = _without_trailing(tuple(name.strip("\"'").strip().lower() for name in header), 0)
        for name in columns:
            if columns.count(name) > 1:
                problem, code = ("names two columns", "duplicate") if name else ("two columns have no name", "empty")
                raise ParseError(problem, code=code, file=path, line=line, field=name or "header")  # type: ignore[arg-type]
        rows = []
        for number, cells in lines:
            cells = _without_trailing(cells, len(columns))  # RECOLA's ratings may end lines with a separator
            if len(cells) != len(columns):
                problem = f"{len(cells)} values, expected {len(columns)}"
                expected = f"the columns are {_listed(columns)}; quote text that contains the separator"
                raise ParseError(problem, code="wrong-count", file=path, line=number, hint=expected)
            rows.append(Row(path, number, columns, cells))
        if not rows:
            raise ParseError("no rows after the header", code="empty", file=path, line=line, hint=hint)
        return cls(path, columns, tuple(rows))

    def column(self, name: str, position: int) -> str:
        """Return this name if a column has it, else the name of the column at a position, counted from 0."""
        if name.lower() in self.columns:
            return name
        if position >= len(self.columns):
            hint = f"expected it, or at least {position + 1} columns; the columns are {_listed(self.columns)}"
            raise ParseError("missing column", code="field-missing", file=self.path, line=1, field=name, hint=hint)
        return self.columns[position]

    def numbers(self, column: str) -> Doubles:
        """Return a column as (rows,) float64; ``NaN``, ``?`` and empty cells are NaN."""
        return np.array([row.number_or_nan(column) for row in self.rows])


def read_cells(
    path: Path, separators: str = SEPARATORS, *, hint: str | None = None
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield (line, stripped cells) of the rows of a file with or without a header; blank rows are skipped."""
    text = read_text(path, hint=hint)
    header = next(iter(text.lstrip("\r\n").splitlines()), "")
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=max(separators, key=header.count), skipinitialspace=True
    )
    try:
        for values in reader:
            cells = tuple(value.strip() for value in values)
            if any(cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise ParseError(f"malformed row: {error}", code="syntax", file=path, line=reader.line_num) from None


def read_text(path: Path, *, hint: str | None = None) -> str:
    """Return the text of a file in UTF-8, with or without a byte-order mark."""
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        hint = hint or "save it as CSV, UTF-8"
        raise ParseError("is not a text file", code="wrong-format", file=path, hint=hint) from None


def _without_trailing(cells: tuple[str, ...], least: int) -> tuple[str, ...]:
    """Return cells without empty ones at the end, but at least `least`."""
    end = len(cells)
    while end > least and not cells[end - 1]:
        end -= 1
    return cells[:end]


def _listed(columns: tuple[str, ...]) -> str:
    return ", ".join(columns[:_LISTED]) + (", ..." if len(columns) > _LISTED else "")
