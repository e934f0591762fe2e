"""Gold standards in ARFF with string attributes, and the tables of frame times."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from caffe_compat.errors import ParseError
from lq_emotion.common.text_table import Doubles, Table, read_text


def read_arff(path: str | Path) -> Table:
    """Read an ARFF table of dense rows; quotes around names and values are removed."""
    path = Path(path)
    columns: list[str] = []
    text = read_text(path, hint="expected an ARFF file")
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip())
    for number, line in lines:
        keyword, _, rest = line.replace("\t", " ").partition(" ")
        if keyword.lower() == "@data":
            return Table.of(path, columns, _arff_rows(path, lines), line=number)
        if keyword.lower() == "@attribute":
            columns.append(_attribute_name(rest.strip()))
        elif keyword.lower() != "@relation" and not line.startswith("%"):
            problem = "expected @relation, @attribute or @data"
            raise ParseError(problem, code="syntax", file=path, line=number, value=line[:40])
    raise ParseError("no @data section: the file is not ARFF, or it is truncated", code="damaged-file", file=path)


def frame_times(path: str | Path) -> Doubles:
    """Read the frame times of a video: (T,) float64 seconds, in the file's order.

    They are in the column ``time in seconds`` if there is one, else in the second column, as in the authors' script.
    """
    table = Table.read(path)
    column = table.column("time in seconds", 1)
    return np.array([row.number(column) for row in table.rows])


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
