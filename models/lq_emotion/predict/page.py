"""The page of a source: estimates over time, the faces, and how far to trust them; gathered in constant memory."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from caffe_compat.errors import printable
from lq_emotion.common.document import Block, Column, Figure, Report, Section, Table, Text, code, number, row
from lq_emotion.common.plots import lines_with_gaps, new_figure, png
from lq_emotion.faces.face import Image
from lq_emotion.nets.known.face_crop import FaceCrop
from lq_emotion.nets.known.outputs import DERIVED_FROM, Labels, coordinates
from lq_emotion.predict.analysis import Estimator, SeenFace
from lq_emotion.predict.overlay import caption
from lq_emotion.video.frames import Frame

_FACES = 5  # whose lines are drawn: those seen most often
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#f0e442")  # Okabe and Ito
_LEAD = (
    "What nets estimate from the pixels of faces. An estimate is not what a person feels: the nets learned what people "
    "wrote about images of others. Do not decide anything about a person from it."
)

Doubles = npt.NDArray[np.float64]
_SHEET = 24  # crops
_SIDE = 96  # pixels
_CROP = FaceCrop(margin=0.15)
_REASONS = 1000  # different ones
_BINS = 4000  # of all faces together


class Timeline:
    """Means of values over bins of time, whose width doubles whenever there are too many.

    Sums are Python's floats: thousands of small arrays between those of the frames would keep the heap from shrinking.
    """

    def __init__(self) -> None:
        self.width = 0.02  # of a bin
        self._bins: dict[tuple[int, int], tuple[float, ...]] = {}  # face and bin -> count, and sum of each value

    def add(self, face: int, at: float, values: Sequence[float]) -> None:
        """Add the values of a face at a time."""
        entries = [((face, int(at / self.width)), (1.0, *values))]
        while entries:
            for key, entry in entries:
                self._bins[key] = tuple(map(sum, zip(self._bins.get(key, repeat(0.0)), entry, strict=False)))
            entries = []
            if len(self._bins) > _BINS:
                self.width *= 2
                entries = [((owner, place // 2), entry) for (owner, place), entry in self._bins.items()]
                self._bins = {}

    def of(self, face: int) -> tuple[Doubles, Doubles]:
        """Return times (n,) and mean values (n, k) of a face."""
        places = sorted(place for owner, place in self._bins if owner == face)
        bins = np.array([self._bins[face, place] for place in places])
        return (np.array(places) + 0.5) * self.width, bins[:, 1:] / bins[:, :1]


class Sheet:
    """Crops at even distances: every k-th frame with a face, where k doubles whenever there are too many."""

    def __init__(self) -> None:
        self._step, self._count = 1, 0
        self.crops: list[tuple[str, SeenFace, Image]] = []  # each with the name or the time of its frame

    def add(self, frame: Frame, face: SeenFace) -> None:
        """Take the first face of a frame into account."""
        if self._count % self._step == 0:
            crop = _CROP.cut(frame.image, face.followed.face)
            small = np.asarray(cv2.resize(crop, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.uint8)
            self.crops.append((printable(frame.name) or f"{frame.time:.2f} s", face, small))
            if len(self.crops) > 2 * _SHEET:
                self.crops, self._step = self.crops[::2], 2 * self._step
        self._count += 1

    def chosen(self) -> list[tuple[str, SeenFace, Image]]:
        """Return at most 24 of the crops, the first and the last among them."""
        if not self.crops:
            return []
        places = np.unique(np.linspace(0, len(self.crops) - 1, _SHEET).round().astype(int))
        return [self.crops[place] for place in places]


@dataclass(eq=False)
class Summary:
    """Counts, a thinned timeline and a thinned sheet of faces."""

    frames: int = 0
    empty: int = 0
    """Frames without a face."""
    faces: int = 0
    """Rows with a face."""
    held: int = 0
    """Rows whose face was not detected in the frame."""
    seconds: float = math.nan
    """Time of the last frame."""
    smallest: float = math.inf
    largest: float = 0.0
    """Shorter side of a face in pixels."""
    by_id: Counter[int] = field(default_factory=Counter)
    """Rows of each face."""
    trusted: Counter[int] = field(default_factory=Counter)
    """Trusted rows of each net with a calibration."""
    reasons: Counter[tuple[int, str]] = field(default_factory=Counter)
    """Rows that a net's number and the reason against trust occur in."""
    timeline: Timeline = field(default_factory=Timeline)
    sheet: Sheet = field(default_factory=Sheet)

    def add(self, frame: Frame, faces: Sequence[SeenFace]) -> None:
        """Take a frame into account."""
        self.frames += 1
        self.empty += not faces
        self.seconds = frame.time
        for face in faces:
            self.faces += 1
            self.held += not face.followed.detected
            self.smallest = min(self.smallest, face.condition.size)
            self.largest = max(self.largest, face.condition.size)
            self.by_id[face.followed.id] += 1
            for net, estimate in enumerate(face.estimates):
                if estimate.trust is not None:
                    self.trusted[net] += estimate.trust.trusted
                    reason = (net, estimate.trust.why)
                    if estimate.trust.why and (reason in self.reasons or len(self.reasons) < _REASONS):
                        self.reasons[reason] += 1
            values = [value for estimate in face.estimates for value in estimate.values.tolist()]
            at = float(frame.index) if math.isnan(frame.time) else frame.time
            self.timeline.add(face.followed.id, at, values)
        if faces:
            self.sheet.add(frame, faces[0])


def report(
    name: str, summary: Summary, estimators: Sequence[Estimator], *, clock: str, detector: str, problem: str = ""
) -> Report:
    """Return the page of a source from the summary of all its frames; `problem` is the reason for missing frames."""
    lead = (Text(_LEAD, "warning"), *((Text(problem, "warning"),) if problem else ()))
    sections = [Section("Summary", (_counts(summary, clock, detector),))]
    if summary.faces:
        sections.append(Section("Over time", tuple(_timelines(summary, estimators, clock))))
        sections.append(Section("Faces", (_sheet(summary, estimators),)))
    sections.append(Section("Trust", tuple(_trust(summary, estimators))))
    sections.append(Section("Nets", tuple(_nets(estimators))))
    return Report(f"Faces in {name}", lead, tuple(sections))


def _counts(summary: Summary, clock: str, detector: str) -> Table:
    times = {"container": "the container's", "arrival": "of arrival", "none": "none: images"}.get(clock, clock)
    size = f"{summary.smallest:.0f} to {summary.largest:.0f} px" if summary.faces else "–"
    rows = [
        ("frames", f"{summary.frames}"),
        ("frames without a face", f"{summary.empty}"),
        ("faces, as rows", f"{summary.faces}, of which {summary.held} not detected in their own frame"),
        ("different faces (ids)", f"{len(summary.by_id)}"),
        ("size of a face, shorter side", size),
        ("time of the last frame", f"{number(summary.seconds, 2)} s; times are {times}"),
        ("detector", code(detector)),
    ]
    return Table("What was seen.", (Column("", number=False), Column("", number=False)), tuple(row(*r) for r in rows))


def _timelines(summary: Summary, estimators: Sequence[Estimator], clock: str) -> list[Block]:
    faces = [face for face, _ in summary.by_id.most_common(_FACES)]
    axis = "image" if clock == "none" else "time in s"
    timelines = [(face, *summary.timeline.of(face)) for face in faces]
    blocks: list[Block] = []
    start = 0
    for estimator in estimators:
        name, outputs = estimator.model.name, estimator.model.outputs
        part = slice(start, start + len(outputs.names))
        start = part.stop
        lines = {face: (times, values[:, part]) for face, times, values in timelines}
        valence = coordinates(outputs) if isinstance(outputs, Labels) else None
        if isinstance(outputs, Labels):
            image = _class_plot(outputs.names, valence, lines, axis)
        else:
            image = _line_plot(outputs.names, lines, axis)
        derived = "" if valence is None else f" Valence is derived from the probabilities ({DERIVED_FROM})."
        text = f"Estimates of {code(name)}, means over {summary.timeline.width:g} s or one frame.{derived}"
        more = f" The {_FACES} faces seen most often of {len(summary.by_id)}." if len(summary.by_id) > _FACES else ""
        alt = f"estimates of {name} over time"
        blocks.append(Figure(f"timeline-{name}", image, text + more, alt))
    return blocks


def _line_plot(names: Sequence[str], lines: dict[int, tuple[Any, Any]], axis: str) -> bytes:
    figure, panels = _figure(len(names), 2.2)
    for panel, (place, name) in zip(panels, enumerate(names), strict=True):
        for (face, (times, values)), colour in zip(lines.items(), _COLOURS, strict=False):
            panel.plot(*_broken(times, values[:, place]), color=colour, linewidth=1, label=f"face {face}")
        panel.set_ylabel(name)
    return _png(figure, panels, axis)


def _class_plot(names: Sequence[str], weights: Any, lines: dict[int, tuple[Any, Any]], axis: str) -> bytes:
    """Return the probabilities of the face seen most often as stacked areas, above the valence derived from all."""
    figure, panels = _figure(1 if weights is None else 2, 2.6)
    face, (times, values) = next(iter(lines.items()))
    if len(names) <= len(_COLOURS):
        panels[0].stackplot(times, values.T, labels=names, colors=_COLOURS, linewidth=0)
    panels[0].set(ylim=(0, 1), ylabel=f"probability, face {face}")
    if weights is not None:
        for (number_, (at, rows)), colour in zip(lines.items(), _COLOURS, strict=False):
            panels[1].plot(*_broken(at, rows @ weights), color=colour, linewidth=1, label=f"face {number_}")
        panels[1].set(ylim=(-1, 1), ylabel="valence, derived")
        panels[1].axhline(0, color="0.8", linewidth=0.8, zorder=0)
    return _png(figure, panels, axis)


def _figure(rows: int, height: float) -> tuple[Any, list[Any]]:
    figure = new_figure(10.5, height * rows + 0.4)
    return figure, list(figure.subplots(rows, 1, squeeze=False, sharex=True)[:, 0])


def _broken(times: Any, values: Any) -> tuple[Doubles, ...]:
    """Return a line that is interrupted where a face was away for ten bins or more."""
    return lines_with_gaps(times, values, gap=10 * np.median(np.diff(times)) if len(times) > 1 else 0)


def _png(figure: Any, panels: Sequence[Any], axis: str) -> bytes:
    panels[-1].set_xlabel(axis)
    for panel in panels:
        panel.grid(visible=True, alpha=0.25)
        panel.margins(x=0.01)
        if panel.get_legend_handles_labels()[0]:
            panel.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8, frameon=False)
    return png(figure)


def _sheet(summary: Summary, estimators: Sequence[Estimator]) -> Figure:
    crops = summary.sheet.chosen()
    columns = 8
    rows = -(-len(crops) // columns)
    figure = new_figure(10.5, (1.45 + 0.13 * len(estimators)) * rows)
    for panel in (panels := figure.subplots(rows, columns, squeeze=False)).flat:
        panel.axis("off")
    for panel, (where, face, crop) in zip(panels.flat, crops, strict=False):
        panel.imshow(crop)
        lines = [caption(net, estimate) for net, estimate in zip(estimators, face.estimates, strict=True)]
        panel.set_title(
            "\n".join([f"{where[:18]}  face {face.followed.id}", *lines]), fontsize=6.5, pad=2, parse_math=False
        )
    text = f"{len(crops)} of {summary.frames - summary.empty} frames with a face, at even distances; `?`: not trusted."
    return Figure("faces", png(figure), text, "faces with what the nets estimate about them")


def _trust(summary: Summary, estimators: Sequence[Estimator]) -> list[Block]:
    blocks: list[Block] = []
    for place, estimator in enumerate(estimators):
        name = code(estimator.model.name)
        if estimator.calibration is None:
            text = f"{name} is not calibrated: nothing is known about how far these estimates are off."
            blocks.append(Text(text, "note"))
            continue
        count = summary.trusted[place]
        text = f"{name}: {count} of {summary.faces} estimates are trusted."
        blocks.append(Text(text))
        reasons = [(why, n) for (net, why), n in summary.reasons.most_common() if net == place][:10]
        if reasons:
            columns = (Column("why not", number=False), Column("rows"))
            blocks.append(Table("The most frequent reasons.", columns, tuple(row(why, str(n)) for why, n in reasons)))
    return blocks


def _nets(estimators: Sequence[Estimator]) -> list[Block]:
    blocks: list[Block] = []
    for estimator in estimators:
        model = estimator.model
        blocks.append(Text(f"**{model.name}** estimates {model.outputs}. Weights: {code(model.weights.name)}."))
        limits = model.limits or "Nothing is known about the limits of this net: it is not among the known models."
        blocks.append(Text(f"Limits: {limits}"))
    return blocks
