"""The gold standard: read from the package, or rebuilt from the raters' traces by the official recipe; gsd files.

The recipe (AVEC 2016's script): every rater's agreement is the mean of his CCC with each of the others. The raters'
means, weighted by agreement, give a common level; every trace is moved to it, and the gold standard is their mean.

The package's gold standard is not compensated for the raters' delay; `scores.delay.shift_gold` shifts it.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError, ParseError
from caffe_compat.formats.files import atomic_path
from lq_emotion.datasets.avec.layout import Recording
from lq_emotion.datasets.avec.tables import TextTable, read_arff, read_csv
from lq_emotion.datasets.avec.times import require_grid, snap
from lq_emotion.metrics.regression import ccc
from matlab_ports.matfile import loadmat, savemat

Trace = npt.NDArray[np.float64]
Source = Literal["auto", "gold", "raters"]


class GoldStandard(NamedTuple):
    """A trace of labels.

    Attributes
    ----------
    gsd : (T,) float64; may hold NaN.
    time : (T,) float64, seconds.
    path : the file it comes from.
    """

    gsd: Trace
    time: Trace
    path: Path


def rebuild(ratings: npt.ArrayLike) -> Trace:
    """Return the gold standard of the traces of several raters, by the official recipe.

    Parameters
    ----------
    ratings : (T, R), R > 1; a NaN is a rating that was not given: means leave it out, and a frame without any is NaN.

    Raises
    ------
    DataError
        There are fewer than two raters, a rater without ratings, or agreements that add up to nothing.
    """
    traces = np.asarray(ratings, np.float64)
    if traces.ndim != 2 or traces.shape[1] < 2:
        raise DataError("two raters or more are needed", field="ratings", value=traces.shape, hint="(frames, raters)")
    given = ~np.isnan(traces)
    if not given.any(axis=0).all():
        raise DataError(f"rater {int(np.argmin(given.any(axis=0))) + 1} gave no rating", field="ratings")
    raters = traces.shape[1]
    agreement = np.zeros((raters, raters))
    for a, b in combinations(range(raters), 2):
        agreement[a, b] = agreement[b, a] = ccc(traces[:, a], traces[:, b], "avec")
    weights = agreement.sum(axis=0) / (raters - 1)
    if not np.isfinite(weights).all() or not weights.sum():
        raise DataError("the raters' agreement is not defined: their traces are constant", field="ratings")
    means = np.nanmean(traces, axis=0)
    level = float((means * weights / weights.sum()).sum())
    centred = np.where(given, traces - means + level, 0.0)
    counts = given.sum(axis=1)
    total: Trace = np.full(len(traces), np.nan)
    np.divide(centred.sum(axis=1), counts, out=total, where=counts > 0)
    return total


def gold_standard(recording: Recording, source: Source = "auto") -> GoldStandard:
    """Return a recording's gold standard.

    Parameters
    ----------
    recording : with a gold standard, or raters' traces.
    source : ``gold`` (the package's), ``raters`` (rebuilt), or by default the first of these that is there.

    Raises
    ------
    CaffeCompatError
        It is not there or cannot be used: file, line, column and value.
    """
    if source not in get_args(Source):
        raise DataError("is unknown", field="labels", value=source, hint=", ".join(get_args(Source)))
    if recording.gold is not None and source != "raters":
        return read_gold(recording.gold)
    if recording.ratings is not None and source != "gold":
        time, ratings = read_ratings(recording.ratings)
        try:
            return GoldStandard(rebuild(ratings), time, recording.ratings)
        except DataError as error:
            error.file = error.file or str(recording.ratings)
            raise
    lacking = {
        "auto": "neither a gold standard nor raters' traces",
        "gold": "no gold standard",
        "raters": "no raters' traces",
    }
    raise DataError(
        f"{recording.name} has {lacking[source]}", hint="labels of AVEC's test partition were never given out"
    )


def read_gold(path: str | Path) -> GoldStandard:
    """Read an ARFF gold standard: the attributes frameTime and GoldStandard, else the second and the third.

    Raises
    ------
    CaffeCompatError
        It has fewer attributes, or a value or a time is no number.
    """
    table = read_arff(path)
    time, gsd = (_column(table, name, position) for name, position in (("frameTime", 1), ("GoldStandard", 2)))
    require_grid(time, where=path)
    return GoldStandard(gsd, time, Path(path))


def read_ratings(path: str | Path) -> tuple[Trace, Trace]:
    """Read the raters' traces of a recording: times (T,) and ratings (T, R), one column after the time for each rater.

    Raises
    ------
    CaffeCompatError
        There are fewer than two raters, or a value is no number.
    """
    table = read_csv(path)
    at = table.position("time") or 0
    raters = [position for position in range(len(table.columns)) if position != at]
    if len(raters) < 2:
        raise ParseError("two raters or more are needed", file=path, line=1, hint="columns like time;FM1;FM2;FF1")
    time = table.numbers(at)
    require_grid(time, where=path)
    return time, np.stack([table.numbers(position) for position in raters], axis=1)


def _column(table: TextTable, name: str, position: int) -> Trace:
    found = table.position(name)
    found = position if found is None else found
    if found >= len(table.columns):
        raise ParseError(f"has no attribute {name}", file=table.path, hint=f"it has {', '.join(table.columns)}")
    return table.numbers(found)


def write_gsd(gold: GoldStandard, path: str | Path, *, frame_time: npt.ArrayLike) -> None:
    """Write gsd.mat as the authors' script loads it: gsd and time, T x 1 doubles. It appears complete or not at all.

    Parameters
    ----------
    gold : the gold standard.
    path : the file.
    frame_time : the video's times: where they name the same place on the grid theirs are stored, as the script
        compares for equality.
    """
    time = snap(gold.time, frame_time)
    savemat(path, {"gsd": gold.gsd.reshape(-1, 1), "time": time.reshape(-1, 1)}, version="-v7")


def write_gsd_csv(gold: GoldStandard, path: str | Path) -> None:
    """Write the same as text: ``time;gsd``, every digit kept."""
    rows = [f"{time!r};{value!r}" for time, value in zip(gold.time.tolist(), gold.gsd.tolist(), strict=True)]
    with atomic_path(path) as partial:
        partial.write_text("\n".join(["time;gsd", *rows]) + "\n", encoding="utf-8")


def read_gsd(path: str | Path) -> GoldStandard:
    """Read gsd.mat (any version, any orientation) or the csv.

    Raises
    ------
    CaffeCompatError
        Numbers of values and times differ, a column is missing, or times are not on the grid.
    PortError
        The MAT-file cannot be read, or lacks a variable.
    """
    path = Path(path)
    if path.suffix.lower() == ".csv":
        table = read_csv(path)
        gsd, time = _column(table, "gsd", 1), _column(table, "time", 0)
    else:
        held = loadmat(path, ["gsd", "time"])
        gsd, time = (_vector(path, name, held[name]) for name in ("gsd", "time"))
        if gsd.size != time.size:
            raise DataError(f"gsd has {gsd.size} values, time {time.size}", file=path, hint="one time for each value")
    require_grid(time, where=path)
    return GoldStandard(gsd, time, path)


def _vector(path: Path, name: str, values: npt.NDArray[np.generic]) -> Trace:
    if values.dtype.kind not in "fiu" or max(values.shape, default=0) != values.size or not values.size:
        shape = " x ".join(map(str, values.shape))
        raise DataError(f"is {shape} of {values.dtype}", file=path, field=name, hint="T x 1 numbers are expected")
    return values.astype(np.float64).ravel()
