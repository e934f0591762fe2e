"""Read a table of text with quoted fields, as spreadsheets and pandas write it."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path

from caffe_compat.errors import ParseError
from caffe_compat.formats.files import read_bytes


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes
    ----------
    path, line : where it stands; lines are counted from 1.
    values : the text of each column, stripped.
    """

    path: Path
    line: int
    values: dict[str, str]

    def number(self, column: str, hint: str | None = None) -> float:
        """Return the finite number in a column.

        Raises
        ------
        ParseError
            The field is empty, or not a finite number.
        """
        text = self.values[column]
        try:
            value = float(text)
        except ValueError:
            raise self.error("is not a number", "syntax", column, hint=hint) from None
        if not math.isfinite(value):
            raise self.error("is not finite", "not-finite", column, hint=hint)
        return value

    def error(self, problem: str, code: str, column: str, *, hint: str | None = None) -> ParseError:
        """Return an error about the value in a column."""
        value = self.values.get(column)
        return ParseError(problem, code=code, file=self.path, line=self.line, field=column, value=value, hint=hint)  # type: ignore[arg-type]


def read_rows(path: Path) -> tuple[tuple[str, ...], list[Row]]:
    """Read a table with a header, separated by commas, semicolons or tabs; names of columns in lower case.

    Raises
    ------
    FileError, ParseError
        The file cannot be read, is not text, has no rows, names a column twice or has a row of another length.
    """
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ParseError("is not a text file", code="wrong-format", file=path, hint="save it as CSV, UTF-8") from None
    header = text.partition("\n")[0]
    separator = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
    rows: list[Row] = []
    columns: tuple[str, ...] = ()
    try:
        for fields in reader:
            values = [field.strip() for field in fields]
            if not any(values):
                continue
            if not columns:
                columns = _columns(path, reader.line_num, values)
            elif len(values) != len(columns):
                problem = f"{len(values)} values, expected {len(columns)}"
                hint = f"the columns are {', '.join(columns)}; quote text that contains {separator!r}"
                raise ParseError(problem, code="wrong-count", file=path, line=reader.line_num, hint=hint)
            else:
                rows.append(Row(path, reader.line_num, dict(zip(columns, values, strict=True))))
    except csv.Error as error:
        raise ParseError(f"malformed row: {error}", code="syntax", file=path, line=reader.line_num) from None
    if not rows:
        raise ParseError("no rows after the header", code="empty", file=path)
    return columns, rows


def require_columns(path: Path, columns: tuple[str, ...], required: tuple[str, ...]) -> None:
    """Refuse a table without some columns.

    Raises
    ------
    ParseError
    """
    for name in required:
        if name not in columns:
            hint = f"expected {', '.join(required)}; the columns are {', '.join(columns)}"
            raise ParseError("missing column", code="field-missing", file=path, line=1, field=name, hint=hint)


def _columns(path: Path, line: int, values: list[str]) -> tuple[str, ...]:
    columns = tuple(name.lower() for name in values)
    for name in columns:
        if not name or columns.count(name) > 1:
            problem, code = ("a column has no name", "empty") if not name else ("names two columns", "duplicate")
            raise ParseError(problem, code=code, file=path, line=line, field=name or "header")  # type: ignore[arg-type]
    return columns
