"""Read the tables of the data sets: CSV separated by ``;``, and ARFF with string attributes.

Standard readers fail on these files: column names end in blanks, ARFF attributes are strings or have quoted names.
Errors name file, line, column and value.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import ParseError
from caffe_compat.formats.files import read_bytes

Column = npt.NDArray[np.float64]
_TIME = "time in seconds"


@dataclass(frozen=True)
class TextTable:
    """A table of text; `numbers` converts a column.

    Attributes
    ----------
    path : its file.
    columns : names, stripped.
    rows : (line number from 1, values) of each row.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]

    def position(self, name: str) -> int | None:
        """Return the index of a column, ignoring case, or None."""
        folded = [column.lower() for column in self.columns]
        return folded.index(name.lower()) if name.lower() in folded else None

    def numbers(self, position: int) -> Column:
        """Return a column as (rows,) float64; ``NaN``, ``?`` and empty values are NaN.

        Raises
        ------
        ParseError
            A value is not a number.
        """
        values = np.empty(len(self.rows))
        for index, (line, row) in enumerate(self.rows):
            try:
                values[index] = float("nan") if row[position] in ("", "?") else float(row[position])
            except ValueError:
                raise ParseError(
                    "not a number", code="syntax", file=self.path, line=line, column=position + 1,
                    field=self.columns[position], value=row[position],
                ) from None  # fmt: skip
        return values


def read_csv(path: str | Path) -> TextTable:
    """Read a table with a header, separated by ``;``, ``,`` or tabs.

    Raises
    ------
    ParseError
        The table has no rows, or a row is shorter or longer than the header, or the file is not text.
    DataError
        The file cannot be read.
    """
    path = Path(path)
    lines = _lines(path)
    number, header = next(lines, (1, ""))
    separator = next((character for character in ";,\t" if character in header), ";")
    columns = tuple(name.strip().strip("\"'").strip() for name in header.split(separator))
    rows = ((line, tuple(value.strip() for value in text.split(separator))) for line, text in lines)
    return _table(path, columns, rows, number)


def read_arff(path: str | Path) -> TextTable:
    """Read an ARFF table of dense rows; quotes around names and values are removed.

    Raises
    ------
    ParseError
        The file is not ARFF, is sparse or has no rows, or a row has another number of values than there are attributes.
    DataError
        The file cannot be read.
    """
    path = Path(path)
    columns: list[str] = []
    lines = _lines(path)
    for number, text in lines:
        keyword, _, rest = text.replace("\t", " ").partition(" ")
        if keyword.lower() == "@data":
            return _table(path, tuple(columns), _arff_rows(path, lines), number)
        if keyword.lower() == "@attribute":
            columns.append(_attribute_name(rest.strip()))
        elif keyword.lower() != "@relation" and not text.startswith("%"):
            raise ParseError(
                "expected @relation, @attribute or @data", code="syntax", file=path, line=number, value=text[:40]
            )
    raise ParseError("no @data section: the file is not ARFF, or it is truncated", code="damaged-file", file=path)


def frame_times(path: str | Path) -> Column:
    """Read the frame times of a video: (T,) float64 seconds, in the file's order.

    They are in the column ``time in seconds`` if there is one, else in the second column, as in the authors' script.

    Raises
    ------
    ParseError
        The column is missing, or a time is missing or not a number.
    """
    table = read_csv(path)
    position = table.position(_TIME)
    if position is None:
        position = 1
    if position >= len(table.columns):
        raise ParseError(
            f"the only column is {table.columns[0]!r}", code="field-missing", file=path, line=1,
            hint=f"expected a column {_TIME!r}, or the times in the second column",
        )  # fmt: skip
    times = table.numbers(position)
    if np.isnan(times).any():
        line = table.rows[int(np.flatnonzero(np.isnan(times))[0])][0]
        raise ParseError(
            "missing time",
            code="field-missing",
            file=path,
            line=line,
            column=position + 1,
            field=table.columns[position],
        )
    return times


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number, line) of every line that is not blank."""
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ParseError("not a text file", code="wrong-format", file=path) from None
    return ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip())


def _table(path: Path, columns: tuple[str, ...], rows: Iterator[tuple[int, tuple[str, ...]]], header: int) -> TextTable:
    checked = []
    for line, row in rows:
        if len(row) == len(columns) + 1 and not row[-1]:  # RECOLA's ratings may end lines with a separator
            row = row[:-1]
        if len(row) != len(columns):
            raise ParseError(
                f"{len(row)} values, expected {len(columns)}",
                code="wrong-count", file=path, line=line, hint=_list_columns(columns),
            )  # fmt: skip
        checked.append((line, row))
    if not checked:
        raise ParseError("no rows after the header", code="empty", file=path, line=header)
    return TextTable(path, columns, tuple(checked))


def _arff_rows(path: Path, lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, tuple[str, ...]]]:
    for line, text in lines:
        if text.startswith("%"):
            continue
        if text.startswith("{"):
            raise ParseError("sparse ARFF rows are not supported", code="unsupported", file=path, line=line)
        quote = next((character for character in text if character in "'\""), '"')
        try:
            values = next(csv.reader([text], quotechar=quote, skipinitialspace=True))
        except csv.Error as error:
            raise ParseError(f"malformed row: {error}", code="syntax", file=path, line=line) from None
        yield line, tuple(value.strip() for value in values)


def _attribute_name(text: str) -> str:
    """Return the name at the start of an ``@attribute`` line."""
    if text[:1] in ("'", '"') and text.find(text[0], 1) > 0:
        return text[1 : text.index(text[0], 1)].strip()
    return text.split(maxsplit=1)[0] if text else ""


def _list_columns(columns: tuple[str, ...]) -> str:
    return "columns are " + ", ".join(map(repr, columns[:8])) + (", ..." if len(columns) > 8 else "")
