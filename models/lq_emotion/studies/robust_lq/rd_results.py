"""Results of a sweep: rd.json, the table rd.csv, and Figure 4 (recognition by QP and by bits, and what codecs cost)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lq_emotion.common.lists import write_rows
from lq_emotion.common.plots import new_figure, save, shared_legend
from lq_emotion.common.records import Record
from lq_emotion.metrics.regression import Score
from lq_emotion.video.codecs import CODECS

UNCODED = "none"  # in a codec's place: small frames that were not coded, where a curve ends
PUBLISHED_BPP = {3: 0.24, 4: 0.40}  # arXiv 1709.03126, section 4.2: nothing is gained beyond it, at QP < 24
PUBLISHED_QP = 24
FPS, GOP, PRESET = 25, 250, "medium"
"""How frames are coded, see `video.encode.encode`; the preset is for x264 and x265 alone."""
_COLUMNS = (
    *("codec", "scale", "qp", "model", "frames", "bits", "vcl_bits", "bpp", "vcl_bpp", "psnr"),
    *("rmse", "cc", "ccc"),
)
_COLOURS = ("#1f77b4", "#d94801", "#31a354", "#756bb1", "#e7298a", "#8c6d31", "#17becf", "#636363")
_MARKS = "osD^vP*X"


@dataclass(frozen=True)
class Model(Record):
    """A net of the figure."""

    name: str
    """Of its curve."""
    weights: Path
    scale: int | None = None
    """The only factor at which it is used; None for all."""
    sha256: str = ""
    """Of the weights, once they are read."""


@dataclass(frozen=True, kw_only=True)
class Point(Record):
    """A point of the curves: all recordings at one factor, codec (a part of file names) and QP, seen by one model.

    Frames that were not coded have the codec `UNCODED` and no QP. Bits per pixel are of the small frames.
    """

    codec: str
    scale: int
    qp: int | None
    model: str
    bits: int | None
    vcl_bits: int | None
    """Of the frames alone, without headers; None without NAL units."""
    bpp: float | None
    vcl_bpp: float | None
    psnr: float | None
    """Of the small frames, in dB; None if nothing was lost."""
    score: Score

    def __post_init__(self) -> None:
        if self.codec not in (*CODECS, UNCODED):
            raise ValueError(f"codec {self.codec!r}, expected one of {', '.join((*CODECS, UNCODED))}")
        if (self.codec == UNCODED) != (self.qp is None):
            raise ValueError(f"codec {self.codec!r} with QP {self.qp}")


@dataclass(frozen=True, kw_only=True)
class SweepResults(Record):
    """rd.json: inputs, settings, versions of the encoders, the paper's rates by factor with their QP, and the points.

    The delay is in seconds; `bits_rise_with_qp` has a line for every QP that takes no fewer bits than a lower one.
    """

    data: str
    recordings: tuple[str, ...]
    models: tuple[Model, ...]
    frames: int | None = None
    """The first of each recording that were coded; None for all."""
    fps: int = FPS
    gop: int = GOP
    preset: str = PRESET
    versions: Mapping[str, str]
    convention: str
    delay: float
    bpp_published: Mapping[str, float]
    bits_rise_with_qp: tuple[str, ...]
    points: tuple[Point, ...]


def draw_codec(points: Sequence[Point], codec: str, path: Path) -> None:
    """Write a row of panels for each factor: CC and CCC against QP, then against bits per pixel, headers included.

    A model is a line; the dotted line of its colour is its score on small frames that were not coded.
    """
    scales = sorted({point.scale for point in points})
    models = list(dict.fromkeys(point.model for point in points))
    figure = new_figure(16, 3.5 * len(scales) + 0.9)
    axes = figure.subplots(len(scales), 4, squeeze=False, sharex="col")
    figure.suptitle(f"Recognition from small frames coded by {codec}", fontsize=13)
    for row, scale in zip(axes, scales, strict=True):
        at_scale = [point for point in points if point.scale == scale]
        quantities = ((x, y) for x in ("qp", "bpp") for y in ("cc", "ccc"))
        for panel, (across, measure) in zip(row, quantities, strict=True):
            for number, model in enumerate(models):
                _curve(panel, [p for p in at_scale if p.model == model], codec, across, measure, number)
            panel.set_title(f"s = {scale}", fontsize=10, loc="left")
            panel.set_ylabel(measure.upper())
            panel.grid(visible=True, alpha=0.3)
        for first, second in ((0, 2), (1, 3)):  # the same measure on the same axis
            row[second].sharey(row[first])
    for panel, label in zip(axes[-1], ("QP", "QP", "bits per coded pixel", "bits per coded pixel"), strict=True):
        panel.set_xlabel(label)
    for column in (0, 1):
        axes[0, column].invert_xaxis()  # better quality to the right, as in the other panels
    if any(point.qp is None for point in points):
        axes[-1, -1].plot([], [], color="0.4", linestyle=":", linewidth=1, label="not coded")
    shared_legend(figure, "lower")
    save(figure, path)


def draw_rates(points: Sequence[Point], published: Mapping[int, float], qp: int, path: Path) -> None:
    """Write bits per pixel and quality against QP for every codec and factor, with the published rates."""
    curves: dict[tuple[int, str], dict[int, Point]] = {}
    for point in points:
        if point.qp is not None:
            curves.setdefault((point.scale, point.codec), {})[point.qp] = point
    scales, codecs = (list(dict.fromkeys(key)) for key in zip(*sorted(curves), strict=True))
    figure = new_figure(12, 4.8)
    rate, quality = figure.subplots(1, 2)
    for (scale, codec), by_qp in sorted(curves.items()):
        qps = sorted(by_qp)
        colour = _COLOURS[scales.index(scale) % len(_COLOURS)]
        mark = _MARKS[codecs.index(codec) % len(_MARKS)]
        style = {"color": colour, "marker": mark, "markersize": 4, "linewidth": 1.4}
        rate.plot(qps, [by_qp[q].bpp for q in qps], label=f"{codec}, s = {scale}", **style)
        if by_qp[qps[0]].vcl_bpp is not None:
            rate.plot(qps, [by_qp[q].vcl_bpp for q in qps], color=colour, linestyle=":", linewidth=1.2)
        lossy = [q for q in qps if by_qp[q].psnr is not None]
        quality.plot(lossy, [by_qp[q].psnr for q in lossy], label=f"{codec}, s = {scale}", **style)
    for scale, bpp in published.items():
        if scale in scales:
            colour = _COLOURS[scales.index(scale) % len(_COLOURS)]
            rate.plot(qp, bpp, "*", color=colour, markersize=15, markeredgecolor="black", zorder=5)
            rate.annotate(f"paper, s = {scale}", (qp, bpp), (8, -12), textcoords="offset points", fontsize=9)
    rate.set_yscale("log")
    for axis in (rate.yaxis.set_major_formatter, rate.yaxis.set_minor_formatter):
        axis("{x:.2g}")
    rate.set(xlabel="QP", ylabel="bits per coded pixel", title="all bits; dotted: frames alone")
    quality.set(xlabel="QP", ylabel="PSNR of the small frames, dB", title="quality")
    for panel in (rate, quality):
        panel.grid(visible=True, which="both", alpha=0.3)
    rate.legend(fontsize=9)
    save(figure, path)


def _curve(panel: Any, points: Sequence[Point], codec: str, across: str, measure: str, number: int) -> None:
    colour = _COLOURS[number % len(_COLOURS)]
    coded = sorted((p for p in points if p.codec == codec), key=lambda p: p.qp or 0)
    shown = [p for p in coded if getattr(p.score, measure) is not None]
    if shown:
        across_values, values = [getattr(p, across) for p in shown], [getattr(p.score, measure) for p in shown]
        mark = _MARKS[number % len(_MARKS)]
        panel.plot(across_values, values, color=colour, marker=mark, markersize=4, label=shown[0].model)
    for point in points:
        if point.qp is None and getattr(point.score, measure) is not None:
            panel.axhline(getattr(point.score, measure), color=colour, linestyle=":", linewidth=1)


def write_csv(points: Sequence[Point], path: Path) -> None:
    """Write a row for every factor, codec, QP and model; undefined numbers are empty fields."""
    write_rows([_COLUMNS, *([_value(point, column) for column in _COLUMNS] for point in points)], path)


def _value(point: Point, column: str) -> object:
    return getattr(point.score if hasattr(point.score, column) else point, column)
