"""Write videos of drawn actors with the names and folders of RAVDESS; `datasets.ravdess` cannot tell them from it.

Each clip goes from a face at rest to its emotion and back, while the mouth speaks one of two sentences. There is no
sound, whatever the name states.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import product
from typing import Literal

import numpy as np
import numpy.typing as npt

from lq_emotion.common.jobs import run_all
from lq_emotion.common.progress import Say
from lq_emotion.common.settings import absolute, option
from lq_emotion.datasets.ravdess import EMOTIONS as RAVDESS_EMOTIONS
from lq_emotion.datasets.ravdess import Intensity, RavdessClip, read_name
from lq_emotion.datasets.synthetic.emotions import EMOTIONS, draw_emotion
from lq_emotion.datasets.synthetic.face import Image, Pose, Scene
from lq_emotion.datasets.synthetic.folder import (
    MakeSettings,
    frame_size,
    open_folder,
    require_even,
    require_x264,
    write_mp4,
)
from lq_emotion.datasets.synthetic.person import make_person

Doubles = npt.NDArray[np.float64]
_DRAWING = 1  # version of the drawn emotions
_RATE = Fraction(30000, 1001)  # frames per second
_LEVELS = {Intensity.NORMAL: 0.6, Intensity.STRONG: 1.0}
# "Kids are talking by the door", "Dogs are sitting by the door": how far the mouth opens in each syllable
_SYLLABLES = {1: (0.7, 0.35, 0.85, 0.3, 0.5, 0.2, 0.9), 2: (1.0, 0.35, 0.3, 0.3, 0.5, 0.2, 0.9)}
_ABOUT = "Synthetic videos in the shape of RAVDESS.\n\nNo person was filmed."


@dataclass(frozen=True, kw_only=True)
class RavdessTreeSettings(MakeSettings):
    """Settings of ``data make ravdess``; the clips are speech with sound (01-01)."""

    actors: int = option(24, "number of actors, from actor 1 on", least=1, most=24)
    size: tuple[int, int] = option(
        (1280, 720), "frame size", read=frame_size, least=64, metavar="WxH", shown="1280x720"
    )  # fmt: skip
    seconds: float = option(3.7, "mean length of a clip; single clips differ from it by a tenth", least=0.2, most=60)
    statements: Literal[1, 2] = option(2, offered=False)  # sentences
    repetitions: Literal[1, 2] = option(2, offered=False)  # of each sentence
    seed: int = option(0, "random seed", least=0)
    jobs: int = option(1, "clips in parallel", least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_even(self.size)

    @property
    def files(self) -> list[str]:
        """The names of the files below the folder."""
        most = (self.actors, len(RAVDESS_EMOTIONS), len(Intensity), self.statements, self.repetitions)
        return [
            f"Actor_{actor:02}/01-01-{emotion:02}-{intensity:02}-{statement:02}-{repetition:02}-{actor:02}.mp4"
            for actor, emotion, intensity, statement, repetition in product(*(range(1, last + 1) for last in most))
            if emotion > 1 or intensity == 1  # neutral is never strong
        ]


def make_ravdess(settings: RavdessTreeSettings, say: Say = print) -> list[str]:
    """Write the missing clips of a synthetic RAVDESS, or all (`fresh`); return the names of those written."""
    settings = absolute(settings)
    require_x264()
    growing = ("actors", "statements", "repetitions")
    journal, made_from = open_folder(settings, _DRAWING, maker="data make ravdess", about=_ABOUT, growing=growing)
    todo = [name for name in settings.files if settings.fresh or not journal.is_done(name, made_from)]
    say(f"making {len(todo)} of {len(settings.files)} synthetic clips in {settings.out}")
    for _, name in run_all(partial(write_clip, settings), todo, jobs=settings.jobs, unit="clips"):
        journal.note(name, made_from, [settings.out / name])
    return todo


def write_clip(settings: RavdessTreeSettings, name: str) -> str:
    """Write one clip and return its name."""
    path = settings.out / name
    clip = read_name(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([settings.seed, *map(int, path.stem.split("-"))])
    count = max(2, round(settings.seconds * float(rng.uniform(0.9, 1.1)) * float(_RATE)))
    frames = _frames(clip, settings, rng, count)
    write_mp4(path, frames, range(count), _RATE)
    return name


def _frames(clip: RavdessClip, settings: RavdessTreeSettings, rng: np.random.Generator, count: int) -> Iterator[Image]:
    actor_rng = np.random.default_rng([settings.seed, clip.actor])
    person = make_person(actor_rng)
    scene = Scene(person, actor_rng, settings.size[::-1])
    time = np.linspace(0, 1, count)
    levels = _LEVELS[clip.intensity] * float(rng.uniform(0.9, 1.1)) * _envelope(time, rng)
    talk = 0.45 * _speech(time, clip.statement, rng)
    blink = np.exp(-(((time - rng.uniform(0.05, 0.95)) * count / 3) ** 2))
    sway = np.cumsum(rng.normal(0, 1, (count, 4)), axis=0) / np.sqrt(count) * [0.03, 0.02, 0.01, 0.02]
    poses = sway + np.array([0, 0, 1, 0])
    features = EMOTIONS[clip.emotion]
    for level, opening, lid, pose in zip(levels.tolist(), talk.tolist(), blink.tolist(), poses.tolist(), strict=True):
        head = draw_emotion(person, features.at(level, talk=opening, blink=lid))
        yield scene.draw_head(head, Pose(*pose), (1.0, 0.2))


def _envelope(time: Doubles, rng: np.random.Generator) -> Doubles:
    """Return onset, apex and offset of an emotion, (T,) from 0 to 1; `time` runs from 0 to 1."""
    onset, offset = rng.uniform(0.08, 0.2), rng.uniform(0.78, 0.92)
    rise, fall = np.clip((time - 0.5 * onset) / (1.5 * onset), 0, 1), np.clip((1 - time) / (1 - offset), 0, 1)
    level = np.minimum(rise, fall)
    return np.asarray(level**2 * (3 - 2 * level), np.float64)


def _speech(time: Doubles, statement: int, rng: np.random.Generator) -> Doubles:
    """Return how far the mouth opens, (T,) from 0 to 1: one hump a syllable, from a quarter to three quarters."""
    begin, end = rng.uniform(0.2, 0.3), rng.uniform(0.7, 0.8)
    place = (time - begin) / (end - begin) * len(_SYLLABLES[statement])
    syllable = np.clip(place.astype(int), 0, len(_SYLLABLES[statement]) - 1)
    speaking = (place >= 0) & (place < len(_SYLLABLES[statement]))
    humps = np.sin(np.pi * (place - np.floor(place))) ** 2
    return np.asarray(np.array(_SYLLABLES[statement])[syllable] * humps * speaking, np.float64)
