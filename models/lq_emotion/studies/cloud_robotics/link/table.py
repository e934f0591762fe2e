"""The measured table that a choice rests on: what each size, frame rate and QP costs, and how well it is recognised."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError, FileError
from lq_emotion.common.json_files import contents_of, read_json
from lq_emotion.common.records import Record
from lq_emotion.common.text_table import Row, Table
from lq_emotion.crops.versions import Version
from lq_emotion.metrics.uncertainty import LEVEL, jackknife
from lq_emotion.studies.robust_lq.rd_results import SweepResults
from lq_emotion.video.codecs import CODECS

_HINT = "see docs/link.md for the columns"
_HIGH = 95  # percentile of the rate over clips
_SCALES = {"accuracy": (0.0, 1.0), "cc": (-1.0, 1.0), "ccc": (-1.0, 1.0)}


class Content(StrEnum):
    """What is sent: whole frames, or the face cut out of them by the robot."""

    FRAME = "frame"
    FACE = "face"


@dataclass(frozen=True, kw_only=True)
class OperatingPoint(Record):
    """A way to send video, with its cost and its score as measured.

    Attributes
    ----------
    width, height, fps, codec, qp : size, frame rate and coding of the video sent.
    kbps : mean rate of the stream, in 1000 bits per second, without packet headers.
    measure : name of the score, such as ``accuracy`` or ``ccc``; higher is better.
    score, low, high : the score with its confidence interval, where there is one.
    model : that was scored.
    content : what is sent.
    kbps_high : a high percentile of the rate over recordings; a link must carry it where it is known.
    largest_bits : largest bits of a frame; None if it was not measured.
    psnr : PSNR in dB.
    n : recordings or clips that were scored.
    """

    width: int
    height: int
    fps: float
    codec: str
    qp: int
    kbps: float
    measure: str
    score: float
    low: float | None = None
    high: float | None = None
    model: str = ""
    content: Content = Content.FRAME
    kbps_high: float | None = None
    largest_bits: float | None = None
    psnr: float | None = None
    n: int | None = None

    def __post_init__(self) -> None:
        for name in ("width", "height", "fps", "kbps"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} is {value}, expected more than 0")
        if self.codec not in CODECS:
            raise ValueError(f"codec is {self.codec!r}, expected one of {', '.join(CODECS)}")
        if self.qp not in (qps := CODECS[self.codec].qps):
            raise ValueError(f"qp is {self.qp}, {self.codec} takes {qps[0]} to {qps[-1]}")
        least, most = _SCALES.get(self.measure, (-math.inf, math.inf))
        for name in ("score", "low", "high"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and least <= value <= most):
                raise ValueError(f"{name} is {value}, expected {least:g} to {most:g}")

    @property
    def rate(self) -> float:
        """Rate that a link must carry, in kbit/s, without packet headers."""
        return self.kbps if self.kbps_high is None else max(self.kbps, self.kbps_high)

    @property
    def name(self) -> str:
        """Size, frame rate, codec and QP, for the user."""
        return f"{self.width}x{self.height} {self.fps:g} fps {self.codec} QP {self.qp}"


@dataclass(frozen=True)
class RateTable(Record):
    """Operating points, all scored by the same measure."""

    points: tuple[OperatingPoint, ...]

    def __post_init__(self) -> None:
        measures = sorted({point.measure for point in self.points})
        if len(measures) != 1:
            raise ValueError(f"{len(measures)} measures, expected one: {', '.join(measures)}")

    @property
    def measure(self) -> str:
        """Name of the score."""
        return self.points[0].measure


def read_table(path: Path) -> RateTable:
    """Read a table: CSV or JSON with the fields of `OperatingPoint`, or the ``rd.json`` of a sweep over faces.

    Raises
    ------
    FileError
        The file is missing, or holds something else.
    """
    if not path.is_file():
        raise FileError("no such file", code="file-missing", file=path, field="--table")
    if path.suffix.lower() == ".csv":
        points = []
        for row in Table.read(path, hint=_HINT).rows:
            with contents_of(path, _HINT, line=row.line):
                points.append(_from_cells(row))
        with contents_of(path, _HINT):
            return RateTable(tuple(points))
    content = read_json(path)
    with contents_of(path, _HINT):
        return _of_sweep(SweepResults.from_json(content)) if "coding" in content else RateTable.from_json(content)


def _from_cells(row: Row) -> OperatingPoint:
    """Return a row of a CSV file; an empty cell takes the field's default."""
    hints, values = get_type_hints(OperatingPoint), {}
    for field in fields(OperatingPoint):
        if field.name in row.columns and (text := row[field.name]):
            kind: Any = next(kind for kind in (int, float, str, Content) if hints[field.name] in (kind, kind | None))
            values[field.name] = kind(text)
    return OperatingPoint.from_json(values)


def _of_sweep(sweep: SweepResults) -> RateTable:
    """Return the coded points of a sweep over square crops of faces that have a score: the concordance correlation."""
    points = []
    for point in sweep.points:
        if point.qp is None or not point.bits or not point.bpp or point.score.ccc is None or not point.score.frames:
            continue
        side, fps = round(math.sqrt(point.bits / point.bpp / point.score.frames)), sweep.coding.fps
        points.append(
            OperatingPoint(
                width=side, height=side, fps=fps, codec=point.codec, qp=point.qp, psnr=point.psnr,
                kbps=point.bits / point.score.frames * fps / 1000, measure="ccc", score=point.score.ccc,
                model=point.model, content=Content.FACE,
            )
        )  # fmt: skip
    return RateTable(tuple(points))


@dataclass(frozen=True)
class ClipCost(Record):
    """What a clip costs: its length in seconds, the bits of all frames, and those of the largest."""

    seconds: float
    bits: float
    largest_bits: float

    @property
    def kbps(self) -> float:
        """Mean rate in 1000 bits per second."""
        return self.bits / self.seconds / 1000


@dataclass(frozen=True)
class MeasuredCell(Record):
    """Clips of a coded version: what they cost, and how they were classified.

    Attributes
    ----------
    version : coded at a QP.
    costs : cost of each clip; the bits are those of whole frames.
    correct : whether each clip was classified correctly.
    actors : actor of each clip, or empty; where given, the interval draws actors.
    """

    version: Version
    costs: tuple[ClipCost, ...]
    correct: tuple[bool, ...]
    actors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.version.qp is None:
            raise DataError("uncoded clips have no bits", code="out-of-range", field="version", value=self.version.name)
        if not self.costs:
            raise DataError("there are no clips", code="empty", field="costs")
        if len(self.correct) != len(self.costs) or len(self.actors) not in (0, len(self.costs)):
            counts = (len(self.costs), len(self.correct), len(self.actors))
            raise DataError("costs, correct, actors differ in length", code="mismatch", field="clips", value=counts)


def clip_cost(times: npt.ArrayLike, bits: npt.ArrayLike) -> ClipCost:
    """Return the cost of a coded clip from its times and bits, (T,) each; its last frame has the mean duration."""
    starts, coded = np.asarray(times, np.float64), np.asarray(bits, np.float64)
    if not np.isfinite(coded).all():
        raise DataError("uncoded clips have no bits", code="out-of-range", field="bits", hint="a version with a QP")
    count = len(starts)
    if count < 2:
        raise DataError("a rate needs two frames or more", code="out-of-range", field="times", value=count)
    seconds = float(starts[-1] - starts[0]) * count / (count - 1)
    return ClipCost(seconds, float(coded.sum()), float(coded.max()))


def operating_points(cells: Sequence[MeasuredCell], model: str) -> RateTable:
    """Return the table of measured cells: an operating point for each, of whole frames, scored by accuracy."""
    if not cells:
        raise DataError("there are no cells", code="empty", field="cells")
    return RateTable(tuple(_point(cell, model) for cell in cells))


def _point(cell: MeasuredCell, model: str) -> OperatingPoint:
    version, rates = cell.version, [cost.kbps for cost in cell.costs]
    assert version.qp is not None
    low, high = _interval(cell)
    return OperatingPoint(
        width=version.width, height=version.height, fps=version.fps, codec=version.codec, qp=version.qp,
        kbps=float(np.mean(rates)), kbps_high=float(np.percentile(rates, _HIGH)),
        largest_bits=max(cost.largest_bits for cost in cell.costs), measure="accuracy",
        score=float(np.mean(cell.correct)), low=low, high=high, model=model, content=Content.FRAME, n=len(rates),
    )  # fmt: skip


def _interval(cell: MeasuredCell) -> tuple[float | None, float | None]:
    """Return the ends of the 95 % interval: jackknife over actors, else Wilson's; None for a single actor."""
    correct = np.array(cell.correct, np.float64)
    if not cell.actors:
        from scipy.stats import binomtest

        ends = binomtest(int(correct.sum()), len(correct)).proportion_ci(LEVEL, method="wilson")
        return float(ends.low), float(ends.high)
    names, actor = np.unique(cell.actors, return_inverse=True)
    if len(names) == 1:
        return None, None
    right, clips = np.bincount(actor, correct), np.bincount(actor)
    (ends,) = jackknife(lambda some: (right[some].sum(axis=-1) / clips[some].sum(axis=-1))[np.newaxis], len(names))
    low, high = np.clip(ends, 0, 1).tolist()
    return low, high
