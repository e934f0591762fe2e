"""Write drawn faces in the forms of FER+; the readers of `datasets.ferplus` cannot tell them from the data set.

Ten made-up taggers vote on each image: for its emotion with a probability that grows with how strong it is drawn, else
for one that resembles it. One image in fifty has no face and no name, as in the data set.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from tqdm import tqdm

from caffe_compat.formats.files import atomic_path
from lq_emotion.common.lists import write_rows
from lq_emotion.common.progress import Say
from lq_emotion.common.settings import absolute, option
from lq_emotion.datasets.ferplus import COLUMNS, FOLDER_LABELS, FOLDERS, LABELS, PIXELS, SIDE
from lq_emotion.datasets.ferplus import EMOTIONS as FER_EMOTIONS
from lq_emotion.datasets.synthetic.emotions import EMOTIONS, draw_emotion
from lq_emotion.datasets.synthetic.face import Image, Pose, Scene
from lq_emotion.datasets.synthetic.folder import MakeSettings, open_folder
from lq_emotion.datasets.synthetic.person import Person, make_person

_DRAWING = 1  # version of the drawn emotions
_DRAWN_AS = dict(
    zip(FER_EMOTIONS, ("neutral", "happy", "surprised", "sad", "angry", "disgust", "fearful", "contempt"), strict=True)
)
_SHARES = (0.28, 0.22, 0.13, 0.12, 0.10, 0.06, 0.06, 0.03)  # of the emotions; the data set has fewer of the rare ones
_ALIKE = ((3, 7), (0, 7), (6, 1), (0, 6), (5, 3), (4, 7), (2, 3), (0, 5))  # emotions that each is taken for
_FER2013 = (6, 3, 5, 4, 0, 1, 2, 6, 6)  # class in fer2013.csv of each emotion, and of images without a face
_PARTITIONS = ((0.8, "Training"), (0.9, "PublicTest"), (1.0, "PrivateTest"))  # up to which part of the images
_PER_PERSON = 4  # images
_TAGGERS = 10
_CANVAS = 120  # pixels in which a face is drawn before it is cut out
_GRAY = (0.299, 0.587, 0.114)
_ABOUT = "Synthetic images in the shape of FER+.\n\nNo person was photographed, and none voted."


@dataclass(frozen=True, kw_only=True)
class FerTreeSettings(MakeSettings):
    """Settings of ``data make ferplus``."""

    images: int = option(
        2000, "number of images: 80 % to train on, 10 % for validation, 10 % to test, of different people",
        least=10,
    )  # fmt: skip
    form: Literal["csv", "folders"] = option("csv", "fer2013new.csv and fer2013.csv, or folders of PNG files")
    seed: int = option(0, "random seed", least=0)


class _Drawn(NamedTuple):
    name: str
    usage: str
    votes: tuple[int, ...]
    emotion: int
    image: Image


def make_ferplus(settings: FerTreeSettings, say: Say = print) -> bool:
    """Write a synthetic FER+; return whether there was anything to do."""
    settings = absolute(settings)
    out = settings.out
    journal, made_from = open_folder(settings, _DRAWING, maker="data make ferplus", about=_ABOUT)
    if journal.is_done("images", made_from) and not settings.fresh:
        say(f"{out}: {settings.images} synthetic images are there already")
        return False
    images = tqdm(_images(settings), total=settings.images, unit=" images", disable=None, leave=False)
    files = _write_tables(out, images) if settings.form == "csv" else _write_folders(out, images)
    journal.note("images", made_from, files)
    say(f"{out}: {settings.images} synthetic images")
    return True


def _images(settings: FerTreeSettings) -> Iterator[_Drawn]:
    shown: list[int] = []  # the person on the last image, who may be on the next
    for index in range(settings.images):
        usage = next(name for end, name in _PARTITIONS if index < end * settings.images)
        rng = np.random.default_rng([settings.seed, index, 1])
        if rng.random() < 0.02:
            noise = rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
            yield _Drawn("", usage, (*[0] * (len(COLUMNS) - 1), _TAGGERS), -1, noise)
            continue
        emotion = int(rng.choice(len(FER_EMOTIONS), p=_SHARES))
        level = float(rng.uniform(0.45, 1.0))
        key = [settings.seed, list(FOLDERS.values()).index(usage), index // _PER_PERSON, 2]
        if key != shown:
            person, shown = make_person(np.random.default_rng(key)), key
        image = _draw(person, rng, emotion, level)
        yield _Drawn(f"fer{index:07d}.png", usage, _votes(rng, emotion, level), emotion, image)


def _draw(person: Person, rng: np.random.Generator, emotion: int, level: float) -> Image:
    """Draw a face as a cascade would cut it out: (48, 48) uint8 gray."""
    import cv2

    scene = Scene(person, rng, (_CANVAS, _CANVAS))
    pose = Pose(*rng.normal((0, 0, 1, 0), (0.03, 0.03, 0.04, 0.07)).tolist())
    light = (float(rng.uniform(0.75, 1.15)), float(rng.uniform(-0.8, 0.8)))
    head = draw_emotion(person, EMOTIONS[_DRAWN_AS[FER_EMOTIONS[emotion]]].at(level))
    frame = scene.draw_head(head, pose, light)
    left, top, side, _ = scene.box(pose)
    shift = rng.normal(0, 0.02 * side, 2)
    matrix = np.array(
        [[SIDE / side, 0, -(left - 1 + shift[0]) * SIDE / side], [0, SIDE / side, -(top - 1 + shift[1]) * SIDE / side]]
    )
    smooth = cv2.GaussianBlur(frame, (0, 0), 0.5)
    crop = cv2.warpAffine(smooth, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(np.clip(crop @ np.array(_GRAY) + 0.5, 0, 255), np.uint8)


def _votes(rng: np.random.Generator, emotion: int, level: float) -> tuple[int, ...]:
    chances = np.full(len(COLUMNS), 0.01)
    first, second = _ALIKE[emotion]
    chances[[first, second]] += 0.5 * (1.05 - level) * np.array([0.7, 0.3])
    chances[COLUMNS.index("unknown")] += 0.06 * (1.05 - level)
    chances[emotion] += 1 - chances.sum()
    return tuple(rng.multinomial(_TAGGERS, chances).tolist())


def _write_tables(out: Path, images: Iterable[_Drawn]) -> list[Path]:
    with (
        atomic_path(out / LABELS) as labels_path,
        atomic_path(out / PIXELS) as pixels_path,
        labels_path.open("w", encoding="utf-8", newline="") as labels_file,
        pixels_path.open("w", encoding="utf-8", newline="") as pixels_file,
    ):
        labels, pixels = csv.writer(labels_file), csv.writer(pixels_file, lineterminator="\n")
        labels.writerow(("Usage", "Image name", *COLUMNS))
        pixels.writerow(("emotion", "pixels", "Usage"))
        for drawn in images:
            labels.writerow((drawn.usage, drawn.name, *drawn.votes))
            text = " ".join(map(str, drawn.image.ravel().tolist()))
            pixels.writerow((_FER2013[drawn.emotion], text, drawn.usage))
    return [out / LABELS, out / PIXELS]


def _write_folders(out: Path, images: Iterable[_Drawn]) -> list[Path]:
    from PIL import Image as Pillow

    names = {usage: folder for folder, usage in FOLDERS.items()}
    rows: dict[str, list[tuple[object, ...]]] = {folder: [] for folder in FOLDERS}
    files: list[Path] = []
    for drawn in images:
        if drawn.name:
            folder = names[drawn.usage]
            (out / folder).mkdir(exist_ok=True)
            files.append(out / folder / drawn.name)
            with atomic_path(files[-1]) as partial:
                Pillow.fromarray(drawn.image).save(partial, format="PNG")
            rows[folder].append((drawn.name, f"(0, 0, {SIDE}, {SIDE})", *drawn.votes))
    for folder, lines in rows.items():
        files.append(out / folder / FOLDER_LABELS)
        write_rows(lines, files[-1])
    return files
