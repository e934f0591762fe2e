"""FER+: images of faces with the votes of ten taggers on their emotion, in either of its public forms.

::

    DIR/fer2013new.csv                       Usage,Image name, and ten columns of votes (microsoft/FERPlus)
    DIR/fer2013.csv                          emotion,pixels,Usage: the images, row by row the same (Kaggle)

    DIR/FER2013Train/label.csv, fer0000000.png, ...      likewise FER2013Valid and FER2013Test;
                                             a row is a name, perhaps a box, and ten votes; there is no header

Both forms are found at any depth below DIR. A row without a name has no image, and is skipped. Without fer2013.csv
the votes can be read, the images cannot.

The four rules for the class of an image are readings of "majority vote". One is that of the authors of FER+ (Barsoum et
al. 2016, arXiv:1608.01041; microsoft/FERPlus, src/ferplus.py). Their program as it was published compares the number of
a class with that of the emotions less two (8 - 2) where that of the columns is meant (10 - 2), and so also drops fear
and contempt; that is not repeated here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError, FileError, ParseError
from caffe_compat.formats.regular_file import require_regular
from lq_emotion.common.text_table import Row, Table, read_cells
from lq_emotion.video.images import read_image

Image = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
LABELS, PIXELS, FOLDER_LABELS = "fer2013new.csv", "fer2013.csv", "label.csv"
FOLDERS = {"FER2013Train": "Training", "FER2013Valid": "PublicTest", "FER2013Test": "PrivateTest"}
EMOTIONS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
COLUMNS = (*EMOTIONS, "unknown", "NF")
"""The choices of a tagger; NF: not a face."""
SIDE = 48
DROPPED = -1
_USAGES = {"Training": "train", "PublicTest": "dev", "PrivateTest": "test"}  # the data set's partitions -> ours
_USAGE, _NAME = "Usage", "Image name"
_PIXEL_COLUMNS = ("emotion", "pixels", "usage")
_OFFICIAL = (28709, 3589, 3589)  # images of train, dev and test, as published
_HINT = f"a folder with {LABELS} and {PIXELS}, or with FER2013Train, FER2013Valid and FER2013Test"


@dataclass(frozen=True)
class FerPlus:
    """The images of FER+ and the votes on them; `path` is the table of labels, or the folder of the three folders."""

    path: Path
    names: tuple[str, ...]
    """Such as ``fer0000000.png``. In the published table, four names are in two rows."""
    partitions: tuple[str, ...]
    """Train, dev or test of each image, as published."""
    votes: Integers = field(repr=False)
    """(N, 10), in the order of `COLUMNS`."""
    _decode: Callable[[int], Image] | None = field(default=None, repr=False)

    def image(self, index: int) -> Image:
        """Decode the image at a place: (48, 48) uint8."""
        if self._decode is None:
            hint = f"put Kaggle's {PIXELS} next to it"
            raise FileError("contains votes without images", code="file-missing", file=self.path, hint=hint)
        return self._decode(index)


def read_ferplus(folder: str | Path) -> FerPlus:
    """Read the labels of FER+; images are decoded later.

    Parameters
    ----------
    folder : folder with either form at any depth.

    Raises
    ------
    FileError, ParseError
        The folder has neither form or both, a table is malformed, or both tables do not belong together.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileError("no such folder", code="file-missing", file=folder, hint=_HINT)
    table = _only(folder, LABELS)
    folders = {name: path for name in FOLDERS if (path := _only(folder, f"{name}/{FOLDER_LABELS}"))}
    if table is not None and folders:
        problem = f"contains both {LABELS} and {', '.join(folders)}"
        raise FileError(problem, code="ambiguous", file=folder, hint="name the folder of one of them")
    if table is not None:
        return _from_table(table, _only(folder, PIXELS))
    if len(folders) == len(FOLDERS):
        return _from_folders(folder, folders)
    missing = [name for name in FOLDERS if name not in folders]
    problem = f"lacks {missing[0]}/{FOLDER_LABELS}" if folders else "contains no FER+"
    raise FileError(problem, code="file-missing", file=folder, hint=_HINT)


def _only(folder: Path, name: str) -> Path | None:
    paths = sorted(folder.rglob(name))
    if len(paths) > 1:
        problem = f"there are {len(paths)}, the first two {paths[0]} and {paths[1]}"
        raise FileError(problem, code="ambiguous", file=folder, field=name, hint="name the folder of one of them")
    return paths[0] if paths else None


def _from_table(path: Path, pixels: Path | None) -> FerPlus:
    rows = Table.read(path, (_USAGE, _NAME, *COLUMNS), separators=",").rows
    for row in rows:
        if row[_USAGE] not in _USAGES:
            raise row.error("unknown partition", "name-unknown", _USAGE, hint=", ".join(_USAGES))
    places = [place for place, row in enumerate(rows) if row[_NAME]]
    named = [(_USAGES[rows[place][_USAGE]], rows[place]) for place in places]
    if pixels is None:
        return _data(path, named, None)
    source = _PixelTable(pixels)
    _require_same_rows(path, [row[_USAGE] for row in rows], source)
    return _data(path, named, lambda index: source.image(places[index]))


class _PixelTable:
    """The images in fer2013.csv, ``emotion,pixels,Usage`` in any order of columns; `usages` has the Usage of each row.

    The table is read once, for the places of its rows; the pixels stay on the disk.
    """

    def __init__(self, path: Path) -> None:
        require_regular(path)
        self.path = path
        self.usages: list[str] = []
        self._starts: list[int] = []
        with path.open("rb") as file:
            names = [name.strip().lower() for name in file.readline().decode("utf-8-sig", "replace").split(",")]
            missing = next((name for name in _PIXEL_COLUMNS if name not in names), None)
            if missing:
                hint = "Kaggle's fer2013.csv has emotion,pixels,Usage"
                raise ParseError("missing column", code="field-missing", file=path, line=1, field=missing, hint=hint)
            self._column, usage = names.index("pixels"), names.index("usage")
            start = file.tell()
            for number, line in enumerate(file, 2):
                fields = line.split(b",")
                if len(fields) != len(names):
                    problem = f"{len(fields)} fields, expected {len(names)}"
                    raise ParseError(problem, code="wrong-count", file=path, line=number)
                self._starts.append(start)
                self.usages.append(fields[usage].strip().decode("utf-8", "replace"))
                start += len(line)

    def image(self, row: int) -> Image:
        """Return the image of a row, counted from 0: (48, 48) uint8."""
        with self.path.open("rb") as file:
            file.seek(self._starts[row])
            text = file.readline().split(b",")[self._column]
        try:
            values = np.array(text.strip(b' "\r\n').split(), np.int64)
        except (ValueError, OverflowError):
            values = np.array([-1])
        if values.size != SIDE * SIDE or values.min() < 0 or values.max() > 255:
            problem = f"pixels are not {SIDE} x {SIDE} whole numbers from 0 to 255"
            raise ParseError(problem, code="damaged-file", file=self.path, line=row + 2, field="pixels")
        return values.astype(np.uint8).reshape(SIDE, SIDE)


def _require_same_rows(path: Path, usages: list[str], source: _PixelTable) -> None:
    if len(source.usages) != len(usages):
        problem = f"has {len(source.usages)} images, {path.name} {len(usages)} rows of votes"
        raise FileError(problem, code="wrong-count", file=source.path)
    for line, (published, labelled) in enumerate(zip(source.usages, usages, strict=True), 2):
        if published != labelled:
            problem = f"{path.name} has {labelled} in this row"
            raise ParseError(problem, code="mismatch", file=source.path, line=line, field="Usage", value=published)


def _from_folders(path: Path, folders: dict[str, Path]) -> FerPlus:
    rows = []
    for folder, path_of_labels in folders.items():
        table = Table.of(path_of_labels, (_NAME, *COLUMNS), _without_boxes(path_of_labels), line=None)
        for row in table.rows:
            if Path(row[_NAME]).name != row[_NAME] or not row[_NAME]:
                raise row.error("is not the name of an image in this folder", "unsafe", _NAME)
            rows.append((_USAGES[FOLDERS[folder]], row))
    paths = [row.path.parent / row[_NAME] for _, row in rows]
    return _data(path, rows, lambda index: _read_file(paths[index]))


def _without_boxes(path: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield (line, name and votes); today's files have a box after the name, those of the data set's program do not."""
    for line, cells in read_cells(path, ","):
        yield line, (cells[0], *cells[2:]) if len(cells) == len(COLUMNS) + 2 else cells


def _read_file(path: Path) -> Image:
    image = read_image(path)
    if image.shape != (SIDE, SIDE, 3):
        problem = f"the image is {image.shape[1]} x {image.shape[0]}, expected {SIDE} x {SIDE}"
        raise FileError(problem, code="shape-mismatch", file=path)
    return np.ascontiguousarray(image[..., 0])


def _data(path: Path, rows: list[tuple[str, Row]], decode: Callable[[int], Image] | None) -> FerPlus:
    if not rows:
        raise FileError("names no image", code="empty", file=path)
    votes: Integers = np.array([_votes(row) for _, row in rows], np.int64)
    return FerPlus(path, tuple(row[_NAME] for _, row in rows), tuple(part for part, _ in rows), votes, decode)


def _votes(row: Row) -> list[int]:
    for column in COLUMNS:
        if not (row[column].isascii() and row[column].isdigit()):
            raise row.error("is not a number of votes", "syntax", column)
    return [int(row[column]) for column in COLUMNS]


class Rule(StrEnum):
    """The rule that chooses the class of an image."""

    MORE_THAN_5 = "more-than-5"
    """That with more than 5 votes. It reproduces the second paper's accuracies."""
    MICROSOFT = "microsoft"
    """Single votes are set to 0; that with more than half of the remaining votes."""
    AT_LEAST_5 = "at-least-5"
    """That with the most votes, if it has at least 5. Of two with 5 each, the first in the table."""
    PLURALITY = "plurality"
    """That with more votes than every other."""


def class_labels(votes: npt.ArrayLike, rule: Rule, *, classes: int = 7) -> Integers:
    """Return the class of each image, (N,) numbers of `EMOTIONS` or `DROPPED`, from its votes, (N, 10).

    There are 8 classes, or 7 without contempt, the last one: images of it are dropped.
    """
    counts = np.asarray(votes, np.int64)
    if counts.ndim != 2 or counts.shape[1] != len(COLUMNS):
        problem = f"votes are {counts.shape}, expected (N, {len(COLUMNS)})"
        raise DataError(problem, code="shape-mismatch", field="votes")
    if classes not in (7, 8):
        hint = "8, or 7 without contempt"
        raise DataError("no such number of classes", code="out-of-range", field="classes", value=classes, hint=hint)
    if rule == Rule.MICROSOFT:
        counts = np.where(counts > 1, counts, 0)
    largest, winner = counts.max(axis=1), counts.argmax(axis=1)
    wins = {
        Rule.MORE_THAN_5: largest > 5,
        Rule.MICROSOFT: 2 * largest > counts.sum(axis=1),
        Rule.AT_LEAST_5: largest >= 5,
        Rule.PLURALITY: (counts == largest[:, None]).sum(axis=1) == 1,
    }[rule]
    return np.where(wins & (winner < classes), winner, DROPPED)


def labelled(
    data: FerPlus,
    partition: Literal["train", "dev", "test"],
    *,
    rule: Rule = Rule.MORE_THAN_5,
    classes: int = 7,
    split: str = "official",
    seed: int = 0,
) -> tuple[Integers, Integers]:
    """Return the images of a partition that have a class: (K,) increasing indices and (K,) numbers of classes.

    The split is ``official``, or ``random``: as many images in each partition, drawn from all by `seed`. An image is in
    the same partition under every rule.
    """
    labels = class_labels(data.votes, rule, classes=classes)
    if split == "official":
        members = np.array(data.partitions) == partition
    elif split == "random":
        names, name_of = np.unique(data.names, return_inverse=True)  # a name that occurs twice is the same image
        bounds = np.round(np.cumsum(_OFFICIAL) / sum(_OFFICIAL) * len(names)).astype(int)
        places = np.random.default_rng(seed).permutation(len(names))[name_of]
        members = np.searchsorted(bounds, places, "right") == list(_USAGES.values()).index(partition)
    else:
        raise DataError("unknown split", code="name-unknown", field="split", value=split, hint="official or random")
    indices = np.flatnonzero(members & (labels != DROPPED))
    return indices, labels[indices]
