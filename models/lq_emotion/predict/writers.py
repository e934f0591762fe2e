"""Write rows as they come: CSV, Parquet, or JSON lines."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TextIO

from caffe_compat.errors import DataError, FileError
from caffe_compat.formats.atomic import atomic_path, writing
from lq_emotion.common.lock import try_lock
from lq_emotion.predict.rows import Cell, Column

UNFINISHED = ".unfinished"
FORMATS = ("csv", "parquet")
_GROUP = 10_000  # rows that Parquet holds in memory: about 2 MiB


class RowWriter(Protocol):
    """Takes rows."""

    def write(self, rows: Sequence[tuple[Cell, ...]]) -> None:
        """Write the rows of a frame."""


class JsonLines:
    """JSON lines on a stream, an object a row, flushed after each frame. Empty cells are null."""

    def __init__(self, stream: TextIO, columns: Sequence[Column], **fixed: Cell) -> None:
        self._stream, self._names, self._fixed = stream, [column.name for column in columns], fixed

    def write(self, rows: Sequence[tuple[Cell, ...]]) -> None:
        """Write the rows of a frame."""
        for row in rows:
            cells = {name: _rounded(cell) for name, cell in zip(self._names, row, strict=True)}
            self._stream.write(json.dumps({**self._fixed, **cells}, allow_nan=False) + "\n")
        self._stream.flush()


@contextmanager
def csv_rows(path: Path, columns: Sequence[Column]) -> Iterator[RowWriter]:
    """Write a CSV file (UTF-8, RFC 4180 but for the line ends) that is named ``PATH.unfinished`` until it is complete.

    Rows are flushed frame by frame, so that a process that is killed leaves those it had.

    Raises
    ------
    FileError
        Another process is writing the file, the name of the unfinished file is a link, or the disk is full.
    """
    import csv

    unfinished = path.with_name(path.name + UNFINISHED)
    if unfinished.is_symlink():
        raise FileError("is a link", code="unsafe", file=unfinished, hint="remove it")
    with unfinished.open("a", encoding="utf-8", newline="") as file:
        _claim(file, unfinished)
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([column.name for column in columns])

        class Rows:
            def write(self, rows: Sequence[tuple[Cell, ...]]) -> None:
                with writing(path):
                    writer.writerows([_text(cell) for cell in row] for row in rows)
                    file.flush()

        yield Rows()
        unfinished.replace(path)


def _claim(file: TextIO, path: Path) -> None:
    """Lock a file and empty it, unless another process has it, or has completed and renamed it meanwhile."""
    if not try_lock(file) or not (path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())):
        hint = "wait until it has ended, or choose another folder: --out"
        raise FileError("another process is writing this file", code="conflict", file=path, hint=hint)
    file.truncate(0)


@contextmanager
def parquet_rows(path: Path, columns: Sequence[Column]) -> Iterator[RowWriter]:
    """Write a Parquet file, complete or not at all, in groups of 10,000 rows.

    Raises
    ------
    DataError
        pyarrow is not installed.
    """
    pa, parquet = _pyarrow()
    types = {"int": pa.int64(), "float": pa.float64(), "text": pa.string(), "bool": pa.bool_()}
    schema = pa.schema([(column.name, types[column.kind]) for column in columns])
    rows_waiting: list[tuple[Cell, ...]] = []
    with atomic_path(path) as partial, parquet.ParquetWriter(partial, schema) as writer:

        def flush() -> None:
            cells = zip(*rows_waiting, strict=True)
            arrays = [pa.array(column, field.type) for column, field in zip(cells, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            rows_waiting.clear()

        class Rows:
            def write(self, rows: Sequence[tuple[Cell, ...]]) -> None:
                rows_waiting.extend(rows)
                if len(rows_waiting) >= _GROUP:
                    flush()

        yield Rows()
        if rows_waiting:
            flush()


def require_format(name: str) -> None:
    """Refuse Parquet without pyarrow.

    Raises
    ------
    DataError
    """
    if name == "parquet":
        _pyarrow()


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise DataError(
            "needs pyarrow", code="dependency-missing", field="--format", value="parquet",
            hint="pip install 'caffe-compat[parquet]'",
        ) from None  # fmt: skip
    return pa, parquet


def _rounded(cell: Cell) -> Cell:
    return float(f"{cell:.9g}") if isinstance(cell, float) else cell


def _text(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(int(cell))
    return f"{cell:.9g}" if isinstance(cell, float) else str(cell)
