"""The rows of a source, one per face or per frame without a face, and their files: CSV, Parquet, JSON lines."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TextIO, TypeAlias

import numpy.typing as npt

from caffe_compat.errors import DataError, FileError, printable
from caffe_compat.formats.atomic import atomic_path, writing
from lq_emotion.common.lock import try_lock
from lq_emotion.nets.known.outputs import DERIVED_VALENCE, Labels, coordinates
from lq_emotion.predict.analysis import Estimate, Estimator, SeenFace, SeenFrame

UNFINISHED = ".unfinished"
FORMATS = ("csv", "parquet")
_GROUP = 10_000  # rows that Parquet holds in memory: about 2 MiB

Cell: TypeAlias = int | float | str | bool | None
NOT_CALIBRATED = "not calibrated"


@dataclass(frozen=True)
class Column:
    """A column: its name and the type of its cells; every cell may be empty."""

    name: str
    kind: Literal["int", "float", "text", "bool"]


_FACE = (
    Column("face_id", "int"),
    Column("detected", "bool"),
    *(Column(name, "float") for name in ("score", "face_x", "face_y", "face_w", "face_h")),
    *(Column(f"lm{number}_{axis}", "float") for number in range(5) for axis in "xy"),
)


class Rows:
    """The columns of a source and the rows of its frames.

    Parameters
    ----------
    estimators : the nets; with several, their columns begin with the net's name and a dot.
    named : the frames are images with names, for which there is a column ``file``.
    abstain : leave the values empty that are not to be trusted.
    """

    def __init__(self, estimators: Sequence[Estimator], *, named: bool, abstain: bool = False) -> None:
        self._nets = [_NetColumns(estimator, abstain=abstain) for estimator in estimators]
        self._named = named
        prefixes = [f"{estimator.name}." if len(estimators) > 1 else "" for estimator in estimators]
        self.columns = (
            *((Column("file", "text"),) if named else ()),
            Column("frame", "int"),
            Column("time", "float"),
            *_FACE,
            *(
                Column(prefix + column.name, column.kind)
                for prefix, net in zip(prefixes, self._nets, strict=True)
                for column in net.columns
            ),
        )

    def of(self, seen: SeenFrame) -> list[tuple[Cell, ...]]:
        """Return the rows of a frame, in the order of `columns`."""
        frame = seen.frame
        start: tuple[Cell, ...] = (*((printable(frame.name),) if self._named else ()), frame.index, number(frame.time))
        if not seen.faces:
            return [start + (None,) * (len(self.columns) - len(start))]
        return [start + self._face(face) for face in seen.faces]

    def _face(self, seen: SeenFace) -> tuple[Cell, ...]:
        face = seen.face
        points: list[Cell] = [None] * 10 if face.landmarks is None else [v for point in face.landmarks for v in point]
        cells: list[Cell] = [seen.id, seen.detected, number(face.score), face.x, face.y, face.width, face.height]
        for net, estimate in zip(self._nets, seen.estimates, strict=True):
            points += net.cells(estimate)
        return (*cells, *points)


class _NetColumns:
    """The columns of one net: its outputs, what follows from them, and how far to trust them."""

    def __init__(self, estimator: Estimator, *, abstain: bool) -> None:
        outputs, calibration = estimator.model.outputs, estimator.calibration
        self._names, self._abstain = outputs.names, abstain
        self._classes = isinstance(outputs, Labels)
        self._valence: npt.NDArray[Any] | None = coordinates(outputs) if isinstance(outputs, Labels) else None
        values = [Column(f"p_{name}" if self._classes else name, "float") for name in outputs.names]
        if self._classes:
            values.append(Column("class", "text"))
        if self._valence is not None:
            values.append(Column(DERIVED_VALENCE, "float"))
        judged = calibration.outputs if calibration is not None and len(calibration.outputs) > 1 else ("",)
        self._judged = len(judged)
        intervals = [Column(f"{name}_{end}" if name else end, "float") for name in judged for end in ("low", "high")]
        self._values = len(values)
        self.columns = (*values, *intervals, Column("trusted", "bool"), Column("why", "text"))

    def cells(self, estimate: Estimate) -> list[Cell]:
        trust = estimate.trust
        if trust is None:
            return [*self._value_cells(estimate), *[None] * (2 * self._judged + 1), NOT_CALIBRATED]
        intervals = [number(end) for pair in zip(trust.low, trust.high, strict=True) for end in pair]
        hidden = self._abstain and not trust.trusted
        values = [None] * self._values if hidden else self._value_cells(estimate)
        return [*values, *intervals, trust.trusted, trust.why or None]

    def _value_cells(self, estimate: Estimate) -> list[Cell]:
        cells: list[Cell] = [number(float(value)) for value in estimate.values]
        if self._classes:
            cells.append(self._names[int(estimate.values.argmax())])
        if self._valence is not None:
            cells.append(number(float(estimate.values @ self._valence)))
        return cells


def number(value: float) -> float | None:
    """Return a number, or None for NaN and infinity: an empty cell."""
    return value if math.isfinite(value) else None


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
