"""The two kinds of table in the packages: CSV with ``;`` between values, and ARFF with text in it.

Own readers, as the usual ones fail on these files: names of columns end in blanks, ARFF files have string attributes
and quoted names. Whatever cannot be read is refused with file, line, column and value.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError, ParseError

Column = npt.NDArray[np.float64]
_TIME = "time in seconds"


@dataclass(frozen=True)
class TextTable:
    """A table as text: values become numbers when a column is asked for.

    Attributes
    ----------
    path : where it was read.
    columns : names, without the blanks around them.
    rows : line number (1-based) and values of each row.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]

    def position(self, name: str) -> int | None:
        """Return where a column stands, whatever its case; None if it is not there."""
        folded = [column.lower() for column in self.columns]
        return folded.index(name.lower()) if name.lower() in folded else None

    def numbers(self, position: int) -> Column:
        """Return a column as float64; NaN where the table says ``NaN``, ``?`` or nothing.

        Raises
        ------
        ParseError
            A value is no number.
        """
        found = np.empty(len(self.rows))
        for index, (line, row) in enumerate(self.rows):
            try:
                found[index] = float("nan") if row[position] in ("", "?") else float(row[position])
            except ValueError:
                raise ParseError(
                    "is no number", file=self.path, line=line, column=position + 1, field=self.columns[position],
                    value=row[position],
                ) from None  # fmt: skip
        return found


def read_csv(path: str | Path) -> TextTable:
    """Read a table whose first line names the columns, with ``;`` (else ``,`` or tabs) between values.

    Raises
    ------
    ParseError
        It has no rows, or a row is shorter or longer than the header.
    FileError
        It cannot be read, or is no text.
    """
    path = Path(path)
    lines = _lines(path)
    number, header = next(lines, (1, ""))
    mark = next((one for one in ";,\t" if one in header), ";")
    # RECOLA's ratings may end each line with a mark too much
    columns = tuple(name.strip().strip("\"'").strip() for name in header.split(mark))
    rows = ((line, tuple(value.strip() for value in text.split(mark))) for line, text in lines)
    return _table(path, columns, rows, number)


def read_arff(path: str | Path) -> TextTable:
    """Read an ARFF table of dense rows; quotes around names and values are taken off.

    Raises
    ------
    ParseError
        It is no ARFF file, is sparse, has no rows, or a row does not fit its attributes.
    FileError
        It cannot be read, or is no text.
    """
    path = Path(path)
    columns: list[str] = []
    lines = _lines(path)
    for number, text in lines:
        keyword, _, rest = text.replace("\t", " ").partition(" ")
        if keyword.lower() == "@data":
            return _table(path, tuple(columns), _arff_rows(path, lines), number)
        if keyword.lower() == "@attribute":
            columns.append(_unquoted(rest.strip()))
        elif keyword.lower() != "@relation" and not text.startswith("%"):
            raise ParseError(f"@relation, @attribute or @data expected, not {text[:40]!r}", file=path, line=number)
    raise ParseError("has no @data: this is no ARFF table, or it is cut off", file=path)


def frame_times(path: str | Path) -> Column:
    """Return the times in seconds of a video's frames, in the file's order: (T,).

    They are the column ``time in seconds`` where there is one, else the second (the one the authors' script reads).

    Raises
    ------
    ParseError
        There is no such column, or a time is missing or no number.
    """
    table = read_csv(path)
    position = table.position(_TIME)
    if position is None:
        position = 1
    if position >= len(table.columns):
        raise ParseError(
            f"has the column {table.columns[0]!r} only", file=path, line=1,
            hint=f"a column {_TIME!r}, or the times in the second of several columns",
        )  # fmt: skip
    times = table.numbers(position)
    if np.isnan(times).any():
        line = table.rows[int(np.flatnonzero(np.isnan(times))[0])][0]
        raise ParseError("has no time", file=path, line=line, column=position + 1, field=table.columns[position])
    return times


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Every line that is not blank, with its number."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", file=path) from None
    except UnicodeDecodeError:
        raise ParseError("is no text", file=path) from None
    return ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip())


def _table(path: Path, columns: tuple[str, ...], rows: Iterator[tuple[int, tuple[str, ...]]], header: int) -> TextTable:
    kept = []
    for line, row in rows:
        if len(row) == len(columns) + 1 and not row[-1]:  # a mark too much at the end of the line
            row = row[:-1]
        if len(row) != len(columns):
            raise ParseError(
                f"{len(row)} values for {len(columns)} columns", file=path, line=line, hint=_shown(columns)
            )
        kept.append((line, row))
    if not kept:
        raise ParseError("no row follows the header", file=path, line=header)
    return TextTable(path, columns, tuple(kept))


def _arff_rows(path: Path, lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, tuple[str, ...]]]:
    for line, text in lines:
        if text.startswith("%"):
            continue
        if text.startswith("{"):
            raise ParseError("sparse rows are not read", file=path, line=line)
        quote = next((mark for mark in text if mark in "'\""), '"')
        try:
            values = next(csv.reader([text], quotechar=quote, skipinitialspace=True))
        except csv.Error as error:
            raise ParseError(f"is no row of values: {error}", file=path, line=line) from None
        yield line, tuple(value.strip() for value in values)


def _unquoted(text: str) -> str:
    """The name an ``@attribute`` line begins with."""
    if text[:1] in ("'", '"') and text.find(text[0], 1) > 0:
        return text[1 : text.index(text[0], 1)].strip()
    return text.split(maxsplit=1)[0] if text else ""


def _shown(columns: tuple[str, ...]) -> str:
    return "columns are " + ", ".join(map(repr, columns[:8])) + (", ..." if len(columns) > 8 else "")
