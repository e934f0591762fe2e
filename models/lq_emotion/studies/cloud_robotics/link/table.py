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
from lq_emotion.metrics.uncertainty import jackknife, wilson
from lq_emotion.studies.robust_lq.rd_results import SweepResults
from lq_emotion.video.codecs import CODECS

_HINT = "see docs/link.md for the columns"
_HIGH = 95  # percentile of the rate over clips
_SCALES = {"accuracy": (0.0, 1.0), "cc": (-1.0, 1.0), "ccc": (-1.0, 1.0)}


HEADER_BYTES = 20 + 8 + 12  # of IPv4, UDP and RTP: RFC 791, RFC 768, RFC 3550
PAYLOAD_BYTES = 1500 - HEADER_BYTES  # what Ethernet's frame of 1500 bytes leaves


def packets_of(frame_bytes: float) -> int:
    """Return how many packets a coded frame takes."""
    return max(1, -int(-frame_bytes // PAYLOAD_BYTES))


def wire_bits(frame_bits: float) -> float:
    """Return the bits of a coded frame with the headers of its packets."""
    return frame_bits + 8 * HEADER_BYTES * packets_of(frame_bits / 8)


class Content(StrEnum):
    """The content of the stream: whole frames, or the face cut out of them by the robot."""

    FRAME = "frame"
    FACE = "face"


@dataclass(frozen=True, kw_only=True)
class OperatingPoint(Record):
    """A way to send video, with its cost and its score as measured; docs/link.md explains the fields."""

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
    def wire_kbps(self) -> float:
        """The same with packet headers, as if all frames were of one size."""
        return wire_bits(1000 * self.rate / self.fps) * self.fps / 1000

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
    """Read a table: CSV or JSON with the fields of `OperatingPoint`, or the ``rd.json`` of a sweep over faces."""
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
        return (
            _of_sweep(SweepResults.from_json(content)) if "bpp_published" in content else RateTable.from_json(content)
        )


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
        side, fps = round(math.sqrt(point.bits / point.bpp / point.score.frames)), sweep.fps
        points.append(
            OperatingPoint(
                width=side, height=side, fps=fps, codec=point.codec, qp=point.qp, psnr=point.psnr,
                kbps=point.bits / point.score.frames * fps / 1000, measure="ccc", score=point.score.ccc,
                model=point.model, content=Content.FACE,
            )
        )  # fmt: skip
    return RateTable(tuple(points))


def clip_cost(times: npt.ArrayLike, bits: npt.ArrayLike) -> tuple[float, float]:
    """Return kbit/s and the largest frame's bits of a coded clip, from its times and bits, (T,) each.

    Its last frame has the mean duration.
    """
    starts, coded = np.asarray(times, np.float64), np.asarray(bits, np.float64)
    if not np.isfinite(coded).all():
        raise DataError("uncoded clips have no bits", code="out-of-range", field="bits", hint="a version with a QP")
    count = len(starts)
    if count < 2:
        raise DataError("a rate needs two frames or more", code="out-of-range", field="times", value=count)
    seconds = float(starts[-1] - starts[0]) * count / (count - 1)
    return float(coded.sum()) / seconds / 1000, float(coded.max())


def operating_point(
    version: Version,
    costs: Sequence[tuple[float, float]],
    correct: Sequence[bool],
    actors: Sequence[str] = (),
    *,
    model: str,
) -> OperatingPoint:
    """Return the point of a coded version, of whole frames, scored by accuracy; `costs` are `clip_cost` of each clip.

    Where the `actors` of the clips are given, the interval draws actors.
    """
    if version.qp is None:
        raise DataError("uncoded clips have no bits", code="out-of-range", field="version", value=version.name)
    if not costs:
        raise DataError("there are no clips", code="empty", field="costs")
    if len(correct) != len(costs) or len(actors) not in (0, len(costs)):
        counts = (len(costs), len(correct), len(actors))
        raise DataError("costs, correct, actors differ in length", code="mismatch", field="clips", value=counts)
    rates, largest = zip(*costs, strict=True)
    low, high = _interval(np.array(correct, np.float64), actors)
    return OperatingPoint(
        width=version.width, height=version.height, fps=version.fps, codec=version.codec, qp=version.qp,
        kbps=float(np.mean(rates)), kbps_high=float(np.percentile(rates, _HIGH)), largest_bits=max(largest),
        measure="accuracy", score=float(np.mean(correct)), low=low, high=high, model=model, n=len(rates),
    )  # fmt: skip


def _interval(correct: npt.NDArray[np.float64], actors: Sequence[str]) -> tuple[float | None, float | None]:
    """Return the ends of the 95 % interval: jackknife over actors, else Wilson's; None for a single actor."""
    if not actors:
        return wilson(int(correct.sum()), len(correct))
    names, actor = np.unique(actors, return_inverse=True)
    if len(names) == 1:
        return None, None
    right, clips = np.bincount(actor, correct), np.bincount(actor)
    (ends,) = jackknife(lambda some: (right[some].sum(axis=-1) / clips[some].sum(axis=-1))[np.newaxis], len(names))
    low, high = np.clip(ends, 0, 1).tolist()
    return low, high
