"""Read the gold standard, rebuild it from the raters' traces, and read and write gsd files.

The recipe is that of AVEC 2016's script: a rater's agreement is the mean CCC with the other raters. The mean of the
raters' means, weighted by agreement, is the common level; all traces are moved to it and averaged.

The gold standard of the data sets is not compensated for the raters' delay; see `metrics.delay.shift_gold`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError, ParseError
from lq_emotion.common.lists import write_lines
from lq_emotion.common.text_table import Table, read_text
from lq_emotion.datasets.avec.layout import Recording
from lq_emotion.datasets.avec.times import match_times, require_grid, snap_times
from lq_emotion.metrics.delay import shift_gold
from lq_emotion.metrics.regression import ccc
from matlab_ports.matfile import loadmat, savemat

Trace = npt.NDArray[np.float64]
LabelSource = Literal["auto", "gold", "raters"]
COLUMNS = ("Instance_name", "frameTime", "GoldStandard")
"""The attributes of a gold standard in ARFF."""
_KINDS = ("string", "numeric", "numeric")


class GoldStandard(NamedTuple):
    """A trace of labels from a file: values (T,), possibly with NaN, and their times (T,) in seconds."""

    gsd: Trace
    time: Trace
    path: Path


def combine_ratings(ratings: npt.ArrayLike) -> Trace:
    """Compute the gold standard of two raters or more, (T, R) -> (T,), by the official recipe; NaN: no rating."""
    traces = np.asarray(ratings, np.float64)
    if traces.ndim != 2 or traces.shape[1] < 2:
        raise DataError(
            f"ratings have shape {traces.shape}, expected (frames, raters) with two raters or more",
            code="shape-mismatch", field="ratings",
        )  # fmt: skip
    given = ~np.isnan(traces)
    if not given.any(axis=0).all():
        raise DataError(f"rater {int(np.argmin(given.any(axis=0))) + 1} gave no ratings", code="empty", field="ratings")
    raters = traces.shape[1]
    agreement = np.zeros((raters, raters))
    for a, b in combinations(range(raters), 2):
        agreement[a, b] = agreement[b, a] = ccc(traces[:, a], traces[:, b], "avec")
    weights = agreement.sum(axis=0) / (raters - 1)
    if not np.isfinite(weights).all() or not weights.sum():
        raise DataError(
            "the raters' agreement is undefined: their traces are constant", code="invalid", field="ratings"
        )
    means = np.nanmean(traces, axis=0)
    level = float((means * weights / weights.sum()).sum())
    centred = np.where(given, traces - means + level, 0.0)
    counts = given.sum(axis=1)
    gold: Trace = np.full(len(traces), np.nan)
    np.divide(centred.sum(axis=1), counts, out=gold, where=counts > 0)
    return gold


def load_gold_standard(recording: Recording, source: LabelSource = "auto") -> GoldStandard:
    """Load a recording's gold standard: ``gold`` (the data set's), ``raters`` (rebuilt), or the first that exists."""
    if recording.gold is not None and source != "raters":
        return read_gold(recording.gold)
    if recording.ratings is not None and source != "gold":
        time, ratings = read_ratings(recording.ratings)
        try:
            return GoldStandard(combine_ratings(ratings), time, recording.ratings)
        except DataError as error:
            error.file = error.file or str(recording.ratings)
            raise
    missing = {
        "auto": "neither a gold standard nor raters' traces",
        "gold": "no gold standard",
        "raters": "no raters' traces",
    }
    raise DataError(
        f"{recording.name} has {missing[source]}", code="field-missing", field="labels", value=source,
        hint="labels of AVEC's test partition were never published",
    )  # fmt: skip


def labels_at(gold: GoldStandard, times: npt.ArrayLike, delay: float) -> Trace:
    """Return the labels at the times (T,) of frames, shifted back by a delay in seconds."""
    rows = match_times(times, gold.time, what="gold standard", where=gold.path)
    return shift_gold(gold.gsd, gold.time, delay)[rows]


def read_gold(path: str | Path) -> GoldStandard:
    """Read an ARFF gold standard: the attributes frameTime and GoldStandard, else the second and the third."""
    table = read_arff(path)
    time = table.numbers(table.column("frameTime", 1))
    gsd = table.numbers(table.column("GoldStandard", 2))
    require_grid(time, where=path)
    return GoldStandard(gsd, time, Path(path))


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


def write_arff(rows: Iterable[str], path: Path, *, relation: str = "GOLDSTANDARD") -> None:
    """Write rows ``name,time,value`` as a gold standard in ARFF, atomically."""
    attributes = (f"@attribute {name} {kind}" for name, kind in zip(COLUMNS, _KINDS, strict=True))
    write_lines([f"@relation {relation}", "", *attributes, "", "@data", *rows], path)


def read_ratings(path: str | Path) -> tuple[Trace, Trace]:
    """Read the raters' traces of a recording: times (T,) in seconds and ratings (T, R), a column per rater."""
    table = Table.read(path)
    time_column = table.column("time", 0)
    raters = [column for column in table.columns if column != time_column]
    if len(raters) < 2:
        raise ParseError(
            f"{len(raters)} raters, expected two or more", code="wrong-count", file=path, line=1,
            hint="columns such as time;FM1;FM2;FF1",
        )  # fmt: skip
    time = table.numbers(time_column)
    require_grid(time, where=path)
    return time, np.stack([table.numbers(column) for column in raters], axis=1)


def write_gsd(gold: GoldStandard, path: str | Path, *, frame_time: npt.ArrayLike) -> None:
    """Write gsd.mat as the authors' script loads it, atomically: gsd and time, T x 1 doubles.

    The video's times, `frame_time`, replace the gold standard's on the same grid index, as the script compares times
    for equality.
    """
    time = snap_times(gold.time, frame_time)
    savemat(path, {"gsd": gold.gsd.reshape(-1, 1), "time": time.reshape(-1, 1)}, version="-v7")


def read_gsd(path: str | Path) -> GoldStandard:
    """Read gsd.mat (any version, any orientation) or the CSV."""
    path = Path(path)
    if path.suffix.lower() == ".csv":
        table = Table.read(path)
        gsd, time = table.numbers(table.column("gsd", 1)), table.numbers(table.column("time", 0))
    else:
        variables = loadmat(path, ["gsd", "time"])
        gsd, time = (_vector(path, name, variables[name]) for name in ("gsd", "time"))
        if gsd.size != time.size:
            raise DataError(f"gsd has {gsd.size} values, time has {time.size}", code="wrong-count", file=path)
    require_grid(time, where=path)
    return GoldStandard(gsd, time, path)


def _vector(path: Path, name: str, values: npt.NDArray[np.generic]) -> Trace:
    if values.dtype.kind not in "fiu" or max(values.shape, default=0) != values.size or not values.size:
        raise DataError(
            f"{values.shape} {values.dtype}, expected (T, 1) numbers", code="shape-mismatch", file=path, field=name
        )
    return values.astype(np.float64).ravel()
