"""The clips of RAVDESS, as the names of their files describe them: ``MM-VV-EE-II-SS-RR-AA.mp4``.

The data set (Livingstone and Russo 2018, zenodo.org/records/1188976) has a folder for each actor, ``Actor_01`` to
``Actor_24``, which may lie at any depth. A clip with sound (01) and the one without (02) show the same take.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from caffe_compat.errors import CaffeCompatError, FileError, ParseError, raise_together
from lq_emotion.common.records import Record

EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
ACTORS = range(1, 25)
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


class Sex(StrEnum):
    """Of an actor."""

    MALE = "male"
    FEMALE = "female"


class Intensity(StrEnum):
    """Of an emotion."""

    NORMAL = "normal"
    STRONG = "strong"


@dataclass(frozen=True)
class RavdessClip(Record):
    """A clip.

    Attributes
    ----------
    path : the file.
    emotion : a name in `EMOTIONS`.
    statement : 1, "Kids are talking by the door", or 2, "Dogs are sitting by the door".
    repetition : 1 or 2.
    actor : 1 to 24.
    """

    path: Path
    modality: Modality
    channel: Channel
    emotion: str
    intensity: Intensity
    statement: int
    repetition: int
    actor: int

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

    @property
    def sex(self) -> Sex:
        """The actor's: odd numbers are male."""
        return sex_of(self.actor)


def sex_of(actor: int) -> Sex:
    """Return the sex of an actor."""
    return Sex.MALE if actor % 2 else Sex.FEMALE


def file_name(
    *,
    modality: Modality,
    channel: Channel,
    emotion: int,
    intensity: Intensity,
    statement: int,
    repetition: int,
    actor: int,
) -> str:
    """Return the name of a file without its suffix; `emotion` counts from 0."""
    parts = (
        list(Modality).index(modality) + 1, list(Channel).index(channel) + 1, emotion + 1,
        list(Intensity).index(intensity) + 1, statement, repetition, actor,
    )  # fmt: skip
    return "-".join(f"{part:02d}" for part in parts)


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
