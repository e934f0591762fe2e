"""RAVDESS: actors who speak and sing two sentences with eight emotions.

The data set (Livingstone and Russo 2018, zenodo.org/records/1188976) has a folder for each actor, ``Actor_01`` to
``Actor_24``, at any depth. Names of files describe the clips: ``MM-VV-EE-II-SS-RR-AA.mp4``. A clip with sound (01) and
the one without (02) show the same take.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import CaffeCompatError, DataError, FileError, ParseError, raise_together
from lq_emotion.common.records import Record

EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
WINDOW = 30  # frames
_NAME = re.compile(r"(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)")
_FIELDS = ("modality", "channel", "emotion", "intensity", "statement", "repetition", "actor")
_LAST = (3, 2, 8, 2, 2, 2, 24)  # of each field, counted from 1
_SONG = 6  # emotions are sung: those up to fearful
_SHOWN = 20  # problems in one error
_SILENT = 18  # the actor without songs


class Modality(StrEnum):
    """The contents of a file: sound, picture or both."""

    AV = "av"
    VIDEO = "video"
    AUDIO = "audio"


class Channel(StrEnum):
    """Spoken or sung."""

    SPEECH = "speech"
    SONG = "song"


class Intensity(StrEnum):
    """Of an emotion."""

    NORMAL = "normal"
    STRONG = "strong"


@dataclass(frozen=True)
class RavdessClip(Record):
    """A clip."""

    path: Path
    modality: Modality
    channel: Channel
    emotion: str
    """A name in `EMOTIONS`."""
    intensity: Intensity
    statement: int
    """1, "Kids are talking by the door", or 2, "Dogs are sitting by the door"."""
    repetition: int
    """1 or 2."""
    actor: int
    """1 to 24; odd numbers are male."""

    @property
    def name(self) -> str:
        """The name of the file without its suffix."""
        return self.path.stem

    @property
    def take(self) -> str:
        """The same for the clip with sound and the one without."""
        return self.name.split("-", 1)[1]

    @property
    def label(self) -> int:
        """The emotion as a number from 0."""
        return EMOTIONS.index(self.emotion)


def read_name(path: Path) -> RavdessClip:
    """Return the clip that a file's name describes."""
    parsed = _NAME.fullmatch(path.stem)
    if parsed is None:
        hint = "MM-VV-EE-II-SS-RR-AA, such as 01-01-03-02-01-01-07"
        raise ParseError("is not a name of RAVDESS", code="syntax", file=path, hint=hint)
    numbers = [int(part) for part in parsed.groups()]
    for field, value, last in zip(_FIELDS, numbers, _LAST, strict=True):
        if not 1 <= value <= last:
            raise ParseError(
                "out of range", code="out-of-range", file=path, field=field, value=value, hint=f"1 to {last}"
            )
    modality, channel, emotion, intensity, statement, repetition, actor = numbers
    problems = {
        "intensity": (emotion == 1 and intensity == 2, "neutral is never strong"),
        "emotion": (channel == 2 and emotion > _SONG, "only neutral to fearful are sung"),
        "actor": (channel == 2 and actor == _SILENT, f"actor {_SILENT} does not sing"),
    }
    for field, (applies, problem) in problems.items():
        if applies:
            value = numbers[_FIELDS.index(field)]
            raise ParseError(problem, code="invalid", file=path, field=field, value=value)
    return RavdessClip(
        path, list(Modality)[modality - 1], list(Channel)[channel - 1], EMOTIONS[emotion - 1],
        list(Intensity)[intensity - 1], statement, repetition, actor,
    )  # fmt: skip


def find_clips(
    folder: str | Path,
    *,
    channels: Collection[Channel] = (Channel.SPEECH,),
    modalities: Collection[Modality] = (Modality.AV,),
) -> tuple[RavdessClip, ...]:
    """Find the clips below a folder with ``Actor_01``, ..., at any depth, in the order of their names.

    With both modalities an actor shows each take twice. Wrong names, names that do not agree with their folders, and
    clips that are there twice are refused.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileError("no such folder", code="file-missing", file=folder)
    clips: dict[str, RavdessClip] = {}
    problems: list[CaffeCompatError] = []
    for path in sorted(folder.rglob("*.mp4")):
        try:
            clip = read_name(path)
            _require_place(clip, clips)
        except CaffeCompatError as error:
            problems.append(error)
            continue
        clips[clip.name] = clip
    if problems and not clips:
        problem = f"contains no clip of RAVDESS, and {len(problems)} other videos, such as {problems[0].file}"
        raise FileError(problem, code="empty", file=folder, hint="the folder of Actor_01, Actor_02, ...")
    raise_together(problems[:_SHOWN])
    chosen = [clip for clip in clips.values() if clip.channel in channels and clip.modality in modalities]
    if not chosen:
        kinds = f"{' or '.join(channels)}, {' or '.join(modalities)}"
        problem = f"contains no clip of this kind ({kinds}), and {len(clips)} of others"
        raise FileError(problem, code="empty", file=folder, hint="the folder of Actor_01, Actor_02, ...")
    return tuple(sorted(chosen, key=lambda clip: clip.name))


def _require_place(clip: RavdessClip, clips: dict[str, RavdessClip]) -> None:
    place = re.fullmatch(r"Actor_(\d\d)", clip.path.parent.name)
    if place and int(place[1]) != clip.actor:
        problem = f"is in the folder of actor {int(place[1])}"
        raise ParseError(problem, code="mismatch", file=clip.path, field="actor", value=clip.actor)
    if clip.name in clips:
        raise FileError(f"is also {clips[clip.name].path}", code="duplicate", file=clip.path)


@dataclass(frozen=True)
class ActorSplit(Record):
    """The actors on each side of a split; `dev` may be empty. An actor, and so both files of a take, is on one side."""

    train: tuple[int, ...]
    dev: tuple[int, ...]
    test: tuple[int, ...]

    def __post_init__(self) -> None:
        actors = [*self.train, *self.dev, *self.test]
        twice = sorted({actor for actor in actors if actors.count(actor) > 1})
        if twice:
            raise DataError("actors are on two sides", code="conflict", field="actors", value=twice)
        for side in ("train", "test"):
            if not getattr(self, side):
                raise DataError("no actor", code="empty", field=side)


def cross_validation(actors: Iterable[int], count: int, *, seed: int = 0) -> tuple[ActorSplit, ...]:
    """Return a split for each fold: it is tested, the next one chooses among snapshots, the others are trained on.

    Sizes of folds, and their numbers of men, differ by one at most. With two folds there is no `dev`.
    """
    numbers = sorted(set(actors))
    if not 2 <= count <= len(numbers):
        hint = f"2 to {len(numbers)}, one fold for each actor"
        raise DataError("cannot be dealt", code="out-of-range", field="folds", value=count, hint=hint)
    rng = np.random.default_rng(seed)
    men, women = ([actor for actor in numbers if actor % 2 == odd] for odd in (1, 0))
    dealt = [*rng.permutation(men).tolist(), *rng.permutation(women).tolist()]
    folds = [tuple(sorted(dealt[fold::count])) for fold in range(count)]
    splits = []
    for number, test in enumerate(folds):
        dev = folds[(number + 1) % count] if count > 2 else ()
        train = tuple(sorted(actor for fold in folds if fold not in (test, dev) for actor in fold))
        splits.append(ActorSplit(train, dev, test))
    return tuple(splits)


class Window(StrEnum):
    """The frames of a clip that a net sees: the first, those in the middle, or frames at equal distances."""

    START = "start"
    CENTRE = "centre"
    UNIFORM = "uniform"


def window_frames(count: int, window: Window, *, length: int = WINDOW) -> npt.NDArray[np.int64]:
    """Return the frames of a window, (length,), of a clip of `count` frames.

    The second paper states neither which 30 frames it takes nor, exactly, how shorter clips become 30 ("if the video
    was shorter than 40 frames I repeat frames until we get 30"). A window of neighbouring frames begins again with the
    clip's first frame after its last one; a uniform window shows frames of a shorter clip several times in a row.
    """
    for name, value in (("count", count), ("length", length)):
        if value < 1:
            raise DataError("must be at least 1", code="out-of-range", field=name, value=value)
    if window == Window.UNIFORM:
        return np.asarray((2 * np.arange(length) + 1) * count // (2 * length), np.int64)
    first = (count - length) // 2 if window == Window.CENTRE and count > length else 0
    return np.asarray((first + np.arange(length)) % count, np.int64)
