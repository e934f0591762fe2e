"""A user's clips and their frames, from a table ``file,person[,start,end][,partition]`` with labels.

The labels are one column of classes, ``label``, or columns of numbers, each a dimension (``valence``). Numbers that
change within a clip are in a second table, ``file,time,valence``, with times in seconds from the file's start.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import CaffeCompatError, DataError, FileError, ParseError, did_you_mean, raise_together
from lq_emotion.common.settings import Settings, option
from lq_emotion.common.text_table import Row, Table
from lq_emotion.datasets.avec.layout import PARTITIONS
from lq_emotion.datasets.avec.partitions import require_partition
from lq_emotion.video.container import Video
from lq_emotion.video.frames import Frame, Image, Selection
from lq_emotion.video.images import read_image
from lq_emotion.video.sources import IMAGES

Doubles = npt.NDArray[np.float64]
_OWN = ("file", "person", "start", "end", "partition")  # the other columns are labels
_CLASS = "label"
_EARLY = 5e-4  # seconds: times of containers are rounded
_BEFORE = 1.0  # second before the start, in which the frame shown at the start begins


@dataclass(frozen=True, kw_only=True)
class ClipSettings(Settings):
    """How a table of clips is read.

    Of the persons, dev chooses among snapshots, so that only test, which may be empty, shows how good it is
    on strangers.
    """

    frame_labels: Path | None = option(
        None, "labels that change within clips: file, time in seconds, and a column for each dimension",
        metavar="CSV", group="clips",
    )  # fmt: skip
    split: tuple[float, float, float] = option(
        (0.6, 0.2, 0.2), "parts of the persons, unless the table has a column `partition`", least=0,
        metavar=("TRAIN", "DEV", "TEST"), group="clips",
    )  # fmt: skip
    split_seed: int = option(0, "seed of the order in which persons are split", least=0, group="clips")

    def __post_init__(self) -> None:
        super().__post_init__()
        train, dev, test = self.split
        if not (train > 0 and dev > 0 and abs(train + dev + test - 1) < 1e-6):
            hint = "three numbers that add up to 1, the first two above 0, such as 0.6 0.2 0.2"
            raise DataError("cannot split persons", code="out-of-range", field="split", value=self.split, hint=hint)

    def partitions(self, persons: Iterable[str]) -> dict[str, str]:
        """Return the partition of each person; each partition that has a share gets one person or more."""
        names = sorted(set(persons))
        parts = {name: part for name, part in zip(PARTITIONS, self.split, strict=True) if part}
        if len(names) < len(parts):
            problem = f"{len(names)} persons for {len(parts)} partitions"
            hint = "add persons, or split two with 0.5 0.5 0"
            raise DataError(problem, code="wrong-count", field="person", hint=hint)
        counts = dict.fromkeys(parts, 1)
        while sum(counts.values()) < len(names):
            lacking = {name: part * len(names) - counts[name] for name, part in parts.items()}
            counts[max(lacking, key=lacking.__getitem__)] += 1
        order = np.random.default_rng(self.split_seed).permutation(len(names)).tolist()
        partitions = [name for name, count in counts.items() for _ in range(count)]
        return {names[index]: partition for index, partition in zip(order, partitions, strict=True)}


@dataclass(frozen=True)
class Clip:
    """A part of a video that shows one person, or an image."""

    name: str
    """Made of its file and start; no two clips have the same."""
    file: Path
    person: str
    start: float
    end: float
    """In seconds from the start of the file, as `start`; infinity for the end of the file."""
    partition: str
    label: str | None
    """Its class, or None."""
    values: Mapping[str, float]
    """Its numbers by dimension; empty if they are in a table of frames."""
    row: Row

    @property
    def is_image(self) -> bool:
        """Whether the file is a still image."""
        return self.file.suffix.lower() in IMAGES


class Trace(NamedTuple):
    """Numbers over time: `time` (T,) increasing seconds, `values` (T, k) for the k dimensions of the table."""

    time: Doubles
    values: Doubles


@dataclass(frozen=True)
class ClipTable:
    """A table of clips, in its order."""

    path: Path
    clips: tuple[Clip, ...]
    classes: tuple[str, ...]
    """Those of the column `label`, sorted; empty for numbers."""
    dimensions: tuple[str, ...]
    """Names of the columns of numbers; empty for classes."""
    traces: Mapping[Path, Trace]
    """The numbers of each file over time, from the table of frames."""
    split: ClipSettings | None
    """Settings that split the persons; None if the table has partitions."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes, or of the dimensions."""
        return self.classes or self.dimensions

    def part(self, partition: str) -> list[Clip]:
        """Return the clips of a partition."""
        return [clip for clip in self.clips if clip.partition == partition]

    def labels(self, clip: Clip, times: npt.ArrayLike) -> Doubles:
        """Return the labels of a clip at times (T,) of its file, in seconds.

        They are (T, 1) numbers of the class, or (T, k) values of the dimensions: linear between the times of the table
        of frames, NaN outside of them.
        """
        times = np.asarray(times, np.float64)
        if clip.label is not None:
            return np.full((len(times), 1), float(self.classes.index(clip.label)))
        if clip.file not in self.traces:
            return np.tile([clip.values[name] for name in self.dimensions], (len(times), 1))
        trace = self.traces[clip.file]
        columns = [np.interp(times, trace.time, column, np.nan, np.nan) for column in trace.values.T]
        return np.stack(columns, axis=1)


def read_clips(path: str | Path, settings: ClipSettings | None = None) -> ClipTable:
    """Read a table of clips, and the table of their frames' labels; raise all problems of the rows together.

    Files are relative to the table's folder. Persons are split where there is no column ``partition``.
    """
    path, settings = Path(path), settings or ClipSettings()
    rows = _read(path, ("file", "person"))
    labels = tuple(name for name in rows.columns if name not in _OWN)
    _require_labels(path, labels, settings.frame_labels)
    clips, problems = _collect(rows.rows, labels)
    if not problems:
        problems += [*_repeated(clips), *_overlaps(clips), *(_sides(clips) if "partition" in rows.columns else ())]
    raise_together(problems)
    split = None if "partition" in rows.columns else settings
    if split is not None:
        partitions = split.partitions(clip.person for clip in clips)
        clips = [replace(clip, partition=partitions[clip.person]) for clip in clips]
    classes = tuple(sorted({clip.label for clip in clips if clip.label is not None}))
    dimensions: tuple[str, ...] = () if classes else labels
    traces: dict[Path, Trace] = {}
    if settings.frame_labels is not None:
        dimensions, traces = _read_traces(settings.frame_labels, path.parent, [clip.file for clip in clips])
    table = ClipTable(path, tuple(clips), classes, dimensions, traces, split)
    _require_trainable(table)
    return table


def _read_traces(path: Path, folder: Path, files: Sequence[Path]) -> tuple[tuple[str, ...], dict[Path, Trace]]:
    """Read the labels of frames (file, time and a column for each dimension): the dimensions, and each file's trace.

    Names of files are relative to `folder`; each of `files`, those of the clips, needs labels.
    """
    table = _read(path, ("file", "time"))
    dimensions = tuple(name for name in table.columns if name not in ("file", "time"))
    if not dimensions:
        hint = "add a column for each dimension, such as valence"
        raise ParseError("no column of labels", code="field-missing", file=path, line=1, hint=hint)
    numbers: dict[Path, list[list[float]]] = {}
    clip_files = set(files)
    for row in table.rows:
        file = folder / row["file"]
        if file not in clip_files:
            nearest = did_you_mean(row["file"], [os.path.relpath(name, folder) for name in files])
            raise row.error("is not a file of the table of clips", "name-unknown", "file", hint=nearest)
        trace = numbers.setdefault(file, [])
        trace.append([row.number(name) for name in ("time", *dimensions)])
        if len(trace) > 1 and trace[-1][0] <= trace[-2][0]:
            raise row.error("does not come after the time above it", "invalid", "time", hint="sort each file by time")
    for file in files:
        if file not in numbers:
            raise ParseError("has no rows for this file", code="field-missing", file=path, field="file", value=file)
    arrays = {file: np.array(trace) for file, trace in numbers.items()}
    return dimensions, {file: Trace(values[:, 0], values[:, 1:]) for file, values in arrays.items()}


def _read(path: Path, required: tuple[str, ...]) -> Table:
    table = Table.read(path, required)
    if "" in table.columns:
        raise ParseError("a column has no name", code="empty", file=path, line=1, field="header")
    return table


def _require_labels(path: Path, labels: tuple[str, ...], frame_labels: str | Path | None) -> None:
    if frame_labels is not None and labels:
        problem = f"has labels of clips, and {frame_labels} those of frames"
        raise ParseError(problem, code="conflict", file=path, line=1, field=labels[0], hint="remove one of them")
    if frame_labels is None and not labels:
        hint = "add a column `label` with classes, columns of numbers such as valence, or a table of frames"
        raise ParseError("no column of labels", code="field-missing", file=path, line=1, hint=hint)
    if _CLASS in labels and len(labels) > 1:
        other = next(name for name in labels if name != _CLASS)
        problem = "cannot be combined with the column `label`: classes or numbers, not both"
        raise ParseError(problem, code="conflict", file=path, line=1, field=other, hint="remove one of the columns")


def _collect(rows: Sequence[Row], labels: tuple[str, ...]) -> tuple[list[Clip], list[CaffeCompatError]]:
    clips: list[Clip] = []
    problems: list[CaffeCompatError] = []
    for row in rows:
        try:
            clips.append(_clip(row, labels))
        except CaffeCompatError as error:
            problems.append(error)
    return clips, problems


def _clip(row: Row, labels: tuple[str, ...]) -> Clip:
    for name in ("file", "person", *(column for column in ("partition", _CLASS) if column in row.columns)):
        if not row[name]:
            raise row.error("is empty", "field-missing", name)
        if name != "file" and not row[name].isprintable():
            raise row.error("contains a line break, tab or control character", "invalid", name, hint="remove it")
    file, given = row.path.parent / row["file"], {name: row[name] for name in _OWN if name in row.columns}
    if not file.is_file():
        raise row.error("no such file", "file-missing", "file", hint=f"files are looked for in {row.path.parent}")
    if "partition" in given:
        require_partition(row)
    start = row.number("start") if given.get("start") else 0.0
    end = row.number("end") if given.get("end") else np.inf
    clip = Clip(
        name=_name(row["file"], start),
        file=file,
        person=row["person"],
        start=start,
        end=end,
        partition=given.get("partition", ""),
        label=row[_CLASS] if _CLASS in labels else None,
        values={name: row.number(name, _numbers_hint(name)) for name in labels if name != _CLASS},
        row=row,
    )
    if start < 0:
        raise row.error("is negative", "out-of-range", "start", hint="seconds from the start of the file")
    if end <= start:
        raise row.error(f"is not after the start, {start:g} s", "out-of-range", "end")
    if clip.is_image and (start or np.isfinite(end)):
        name = "start" if start else "end"
        raise row.error("an image has no times", "conflict", name, hint="leave start and end empty")
    return clip


def _numbers_hint(column: str) -> str:
    return f"a column of labels contains numbers; name it `{_CLASS}` if it contains classes" + (
        "" if column in ("valence", "arousal") else ", and remove it if it contains no labels"
    )


def _name(file: str, start: float) -> str:
    path = PurePath(file)
    stem = "_".join(part for part in path.with_suffix("").parts if part not in (".", "..", path.anchor))
    return f"{stem}_{start:g}" if start else stem


def _repeated(clips: Sequence[Clip]) -> Iterator[CaffeCompatError]:
    first: dict[str, Clip] = {}
    for clip in clips:
        earlier = first.setdefault(clip.name.lower(), clip)
        if earlier is not clip:
            problem = f"clip name {clip.name} is already used by line {earlier.row.line}"
            yield clip.row.error(problem, "duplicate", "file", hint="each clip needs another file name or start")


def _overlaps(clips: Sequence[Clip]) -> Iterator[CaffeCompatError]:
    """Refuse two persons at the same time in a file: the larger face would be taken for both."""
    by_file: dict[Path, list[Clip]] = {}
    for clip in clips:
        by_file.setdefault(clip.file, []).append(clip)
    for same in by_file.values():
        for one, other in combinations(same, 2):
            if one.person != other.person and max(one.start, other.start) < min(one.end, other.end):
                problem = f"overlaps with line {one.row.line}, which shows {one.person}"
                hint = "a clip shows one person; crop the frame to one of them first"
                yield other.row.error(problem, "conflict", "person", hint=hint)


def _sides(clips: Sequence[Clip]) -> Iterator[CaffeCompatError]:
    """Refuse a person on two sides."""
    first: dict[str, Clip] = {}
    for clip in clips:
        earlier = first.setdefault(clip.person, clip)
        if earlier.partition != clip.partition:
            problem = f"{clip.person} is already in {earlier.partition} (line {earlier.row.line}): one per person"
            hint = f"write {earlier.partition}, or remove the column for a split by person"
            yield clip.row.error(problem, "conflict", "partition", hint=hint)


def _require_trainable(table: ClipTable) -> None:
    """Refuse a table without clips to train or to choose a snapshot on, or with a class that is never trained."""
    for partition in ("train", "dev"):
        if not table.part(partition):
            hint = "train learns, dev chooses the snapshot, test (if any) is scored once"
            raise FileError(
                f"no clip in {partition}", code="empty", file=table.path, field="partition", value=partition, hint=hint
            )
    trained = {clip.label for clip in table.part("train")}
    for clip in table.clips:
        if clip.label not in trained:
            problem = "no person of the partition train shows this class"
            hint = "choose another --split-seed or other partitions, or remove the class"
            raise clip.row.error(problem, "field-missing", _CLASS, hint=hint)


def frames_of(clip: Clip, rate: float) -> Iterator[tuple[float, Image]]:
    """Yield the time of each sample, in seconds of the file, and the frame shown then, (H, W, 3) uint8 upright.

    A video is sampled from the clip's start on, `rate` times a second; an image has one frame, at 0 s.
    """
    if clip.is_image:
        yield 0.0, read_image(clip.file)
        return
    sample, empty = 0, True
    for frame, until in _shown(clip):
        sample = max(sample, math.ceil((frame.time - _EARLY - clip.start) * rate))  # nothing is shown in a gap
        while (time := clip.start + sample / rate) < min(until, clip.end) - _EARLY:
            yield time, frame.image
            sample, empty = sample + 1, False
    if empty:
        problem = f"{clip.file.name} has no frame from {clip.start:g} s on"
        raise DataError(problem, code="out-of-range", field="start", value=clip.start, hint="the video is shorter")


def _shown(clip: Clip) -> Iterator[tuple[Frame, float]]:
    """Yield the frames of a video from before the clip's start on, each with the time until which it is shown."""
    selection = Selection(start=max(0.0, clip.start - _BEFORE), end=clip.end if math.isfinite(clip.end) else None)
    with Video(str(clip.file), selection) as video:
        last: Frame | None = None
        for frame in video:
            if last is not None:
                yield last, frame.time
            last = frame
        if last is not None:
            yield last, last.time + 1 / (video.rate or 25)
        if video.problem is not None and video.problem.code != "out-of-range":  # no frame: `frames_of` has the error
            raise video.problem
