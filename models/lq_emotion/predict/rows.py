"""The rows of a source, one per face or per frame without a face, and their files: CSV, Parquet, JSON lines."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TextIO, TypeAlias

from caffe_compat.errors import DataError, FileError, printable
from caffe_compat.formats.atomic import atomic_path, writing
from lq_emotion.common.folders import try_lock
from lq_emotion.nets.known.outputs import DERIVED_VALENCE, Labels, coordinates
from lq_emotion.predict.analysis import Estimate, Estimator, SeenFace
from lq_emotion.video.frames import Frame

UNFINISHED = ".unfinished"
_GROUP = 10_000  # rows that wait in memory for Parquet: about 2 MiB

Cell: TypeAlias = int | float | str | bool | None
Row: TypeAlias = Sequence[Cell]
Write: TypeAlias = Callable[[Sequence[Row]], None]
"""Writes the rows of a frame."""
NOT_CALIBRATED = "not calibrated"


Column: TypeAlias = tuple[str, Literal["int", "float", "text", "bool"]]
"""Name and type of its cells, any of which may be empty."""

_FACE: tuple[Column, ...] = (
    ("face_id", "int"),
    ("detected", "bool"),
    *((name, "float") for name in ("score", "face_x", "face_y", "face_w", "face_h")),
    *((f"lm{number}_{axis}", "float") for number in range(5) for axis in "xy"),
)


class Rows:
    """The columns of a source and the rows of its frames.

    With several nets, their columns begin with the net's name and a dot. Images that are `named` have a column
    ``file``. With `abstain`, values that are not to be trusted are empty.
    """

    def __init__(self, estimators: Sequence[Estimator], *, named: bool, abstain: bool = False) -> None:
        self._nets = [_NetColumns(estimator, abstain=abstain) for estimator in estimators]
        self._named = named
        prefixes = [f"{estimator.model.name}." if len(estimators) > 1 else "" for estimator in estimators]
        self.columns: list[Column] = [("file", "text")] if named else []
        self.columns += [("frame", "int"), ("time", "float"), *_FACE]
        for prefix, net in zip(prefixes, self._nets, strict=True):
            self.columns += [(prefix + name, kind) for name, kind in net.columns]

    def of(self, frame: Frame, faces: Sequence[SeenFace]) -> list[Row]:
        """Return the rows of a frame, in the order of `columns`; cells that are not finite are empty."""
        start: list[Cell] = [*([printable(frame.name)] if self._named else []), frame.index, frame.time]
        rows = [[*start, *self._face(face)] for face in faces]
        rows = rows or [[*start, *[None] * (len(self.columns) - len(start))]]
        return [[None if isinstance(cell, float) and not math.isfinite(cell) else cell for cell in row] for row in rows]

    def _face(self, seen: SeenFace) -> list[Cell]:
        face, number, detected = seen.followed
        points = [None] * 10 if face.landmarks is None else [value for point in face.landmarks for value in point]
        nets = zip(self._nets, seen.estimates, strict=True)
        return [
            *(number, detected, face.score, face.x, face.y, face.width, face.height),
            *points,
            *(cell for net, estimate in nets for cell in net.cells(estimate)),
        ]


class _NetColumns:
    """The columns of one net: its outputs, what follows from them, and how far to trust them."""

    def __init__(self, estimator: Estimator, *, abstain: bool) -> None:
        outputs, calibration = estimator.model.outputs, estimator.calibration
        self._abstain = abstain
        self._classes = outputs.names if isinstance(outputs, Labels) else None
        self._valence = coordinates(outputs) if isinstance(outputs, Labels) else None
        values: list[Column] = [(f"p_{name}" if self._classes else name, "float") for name in outputs.names]
        if self._classes:
            values.append(("class", "text"))
        if self._valence is not None:
            values.append((DERIVED_VALENCE, "float"))
        judged = calibration.outputs if calibration is not None else ()
        prefixes = [f"{name}_" for name in judged] if len(judged) > 1 else [""]
        intervals: list[Column] = [(prefix + end, "float") for prefix in prefixes for end in ("low", "high")]
        self._intervals = len(intervals)
        self.columns: list[Column] = [*values, *intervals, ("trusted", "bool"), ("why", "text")]

    def cells(self, estimate: Estimate) -> list[Cell]:
        values: list[Cell] = estimate.values.tolist()
        if self._classes:
            values.append(self._classes[int(estimate.values.argmax())])
        if self._valence is not None:
            values.append(float(estimate.values @ self._valence))
        trust = estimate.trust
        if trust is None:
            return [*values, *[None] * (self._intervals + 1), NOT_CALIBRATED]
        if self._abstain and not trust.trusted:
            values = [None] * len(values)
        intervals = [end for pair in zip(trust.low, trust.high, strict=True) for end in pair]
        return [*values, *intervals, trust.trusted, trust.why or None]


@contextmanager
def json_lines(stream: TextIO, columns: Sequence[Column], source: str) -> Iterator[Write]:
    """Write JSON lines to a stream, an object a row, flushed after each frame. Empty cells are null."""
    names = [name for name, _ in columns]

    def write(rows: Sequence[Row]) -> None:
        for row in rows:
            cells = (float(f"{cell:.9g}") if isinstance(cell, float) else cell for cell in row)
            values = {"source": source, **dict(zip(names, cells, strict=True))}
            stream.write(json.dumps(values, allow_nan=False) + "\n")
        stream.flush()

    yield write


@contextmanager
def csv_rows(path: Path, columns: Sequence[Column]) -> Iterator[Write]:
    """Write a CSV file (UTF-8, RFC 4180 but for the line ends) that is named ``PATH.unfinished`` until it is complete.

    Rows are flushed frame by frame, so that a process that is killed leaves those it had. A file that another process
    is writing, and a link in place of the unfinished file, are refused.
    """
    import csv

    unfinished = path.with_name(path.name + UNFINISHED)
    if unfinished.is_symlink():
        raise FileError("is a link", code="unsafe", file=unfinished, hint="remove it")
    with unfinished.open("a", encoding="utf-8", newline="") as file:
        _claim(file, unfinished)
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([name for name, _ in columns])

        def write(rows: Sequence[Row]) -> None:
            with writing(path):
                for row in rows:
                    cells = (int(cell) if isinstance(cell, bool) else cell for cell in row)
                    writer.writerow([f"{cell:.9g}" if isinstance(cell, float) else cell for cell in cells])
                file.flush()

        yield write
        unfinished.replace(path)


def _claim(file: TextIO, path: Path) -> None:
    """Lock a file and empty it, unless another process has it, or has completed and renamed it meanwhile."""
    if not try_lock(file) or not (path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())):
        hint = "wait until it has ended, or choose another folder: --out"
        raise FileError("another process is writing this file", code="conflict", file=path, hint=hint)
    file.truncate(0)


@contextmanager
def parquet_rows(path: Path, columns: Sequence[Column]) -> Iterator[Write]:
    """Write a Parquet file, complete or not at all, in groups of 10,000 rows."""
    pa, parquet = pyarrow()
    types = {"int": pa.int64(), "float": pa.float64(), "text": pa.string(), "bool": pa.bool_()}
    schema = pa.schema([(name, types[kind]) for name, kind in columns])
    waiting: list[Row] = []
    with atomic_path(path) as partial, parquet.ParquetWriter(partial, schema) as writer:

        def flush() -> None:
            cells = zip(*waiting, strict=True)
            arrays = [pa.array(column, field.type) for column, field in zip(cells, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            waiting.clear()

        def write(rows: Sequence[Row]) -> None:
            waiting.extend(rows)
            if len(waiting) >= _GROUP:
                flush()

        yield write
        if waiting:
            flush()


def pyarrow() -> tuple[Any, Any]:
    """Return the modules of pyarrow; refuse to go on without it."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise DataError(
            "needs pyarrow", code="dependency-missing", field="--format", value="parquet",
            hint="pip install 'caffe-compat[parquet]'",
        ) from None  # fmt: skip
    return pa, parquet
