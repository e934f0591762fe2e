"""Read FER+ in either of its public forms.

::

    DIR/fer2013new.csv                       Usage,Image name, and ten columns of votes (microsoft/FERPlus)
    DIR/fer2013.csv                          emotion,pixels,Usage: the images, row by row the same (Kaggle)

    DIR/FER2013Train/label.csv, fer0000000.png, ...      likewise FER2013Valid and FER2013Test;
                                             a row is a name, perhaps a box, and ten votes; there is no header

Both forms are found at any depth below DIR. A row without a name has no image, and is skipped. Without fer2013.csv
the votes can be read, the images cannot.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import FileError, ParseError
from caffe_compat.formats.files import read_bytes
from lq_emotion.datasets.ferplus.pixels import Image, PixelFiles, Pixels, PixelTable
from lq_emotion.datasets.ferplus.votes import COLUMNS, Integers

LABELS, PIXELS, FOLDER_LABELS = "fer2013new.csv", "fer2013.csv", "label.csv"
FOLDERS = {"FER2013Train": "Training", "FER2013Valid": "PublicTest", "FER2013Test": "PrivateTest"}
USAGES = {"Training": "train", "PublicTest": "dev", "PrivateTest": "test"}
"""The data set's names of its partitions, and ours."""
_HINT = f"a folder with {LABELS} and {PIXELS}, or with FER2013Train, FER2013Valid and FER2013Test"


@dataclass(frozen=True)
class FerPlus:
    """The images of FER+ and the votes on them.

    Attributes
    ----------
    path : the table of labels, or the folder of the three folders.
    names : of the images, such as ``fer0000000.png``. In the published table, four names stand in two rows.
    partitions : train, dev or test of each image, as published.
    votes : (N, 10) int64, in the order of `votes.COLUMNS`.
    """

    path: Path
    names: tuple[str, ...]
    partitions: tuple[str, ...]
    votes: Integers = field(repr=False)
    _pixels: Pixels | None = field(default=None, repr=False)

    def image(self, index: int) -> Image:
        """Decode the image at a place: (48, 48) uint8.

        Raises
        ------
        FileError
            It is missing or damaged.
        """
        if self._pixels is None:
            hint = f"put Kaggle's {PIXELS} beside it"
            raise FileError("holds votes without images", code="file-missing", file=self.path, hint=hint)
        return self._pixels(index)

    def images(self, indices: Iterable[int]) -> Image:
        """Decode several images: (K, 48, 48) uint8; see `image`."""
        return np.stack([self.image(int(index)) for index in indices])


@dataclass(frozen=True)
class _Row:
    name: str
    usage: str
    votes: tuple[int, ...]
    place: int  # of the image in its table
    folder: Path


def read_ferplus(folder: str | Path) -> FerPlus:
    """Read the labels of FER+; images are decoded later.

    Parameters
    ----------
    folder : with either form at any depth.

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
        problem = f"holds both {LABELS} and {', '.join(folders)}"
        raise FileError(problem, code="ambiguous", file=folder, hint="name the folder of one of them")
    if table is not None:
        return _from_table(table, _only(folder, PIXELS))
    if len(folders) == len(FOLDERS):
        return _from_folders(folder, folders)
    missing = [name for name in FOLDERS if name not in folders]
    problem = f"lacks {missing[0]}/{FOLDER_LABELS}" if folders else "holds no FER+"
    raise FileError(problem, code="file-missing", file=folder, hint=_HINT)


def _only(folder: Path, name: str) -> Path | None:
    paths = sorted(folder.rglob(name))
    if len(paths) > 1:
        problem = f"there are {len(paths)}, the first two {paths[0]} and {paths[1]}"
        raise FileError(problem, code="ambiguous", file=folder, field=name, hint="name the folder of one of them")
    return paths[0] if paths else None


def _from_table(path: Path, pixels: Path | None) -> FerPlus:
    header, *lines = _lines(path)
    expected = ("Usage", "Image name", *COLUMNS)
    if tuple(header) != expected:
        missing = next((name for name in expected if name not in header), header[0] if header else "")
        hint = f"the columns are {','.join(expected)}"
        raise ParseError("unexpected header", code="field-missing", file=path, line=1, field=missing, hint=hint)
    rows = [_row(path, line, fields, place=line - 2) for line, fields in enumerate(lines, 2)]
    for line, row in enumerate(rows, 2):
        if row.usage not in USAGES:
            hint = ", ".join(USAGES)
            raise ParseError(
                "unknown partition",
                code="name-unknown",
                file=path,
                line=line,
                field="Usage",
                value=row.usage,
                hint=hint,
            )
    named = [row for row in rows if row.name]
    if pixels is None:
        return _data(path, named, None)
    source = PixelTable(pixels)
    _require_same_rows(path, [row.usage for row in rows], source)
    places = [row.place for row in named]
    return _data(path, named, lambda index: source(places[index]))


def _require_same_rows(path: Path, usages: list[str], source: PixelTable) -> None:
    if len(source.usages) != len(usages):
        problem = f"has {len(source.usages)} images, {path.name} {len(usages)} rows of votes"
        raise FileError(problem, code="wrong-count", file=source.path)
    for line, (published, labelled) in enumerate(zip(source.usages, usages, strict=True), 2):
        if published != labelled:
            problem = f"{path.name} has {labelled} in this row"
            raise ParseError(problem, code="mismatch", file=source.path, line=line, field="Usage", value=published)


def _from_folders(path: Path, folders: dict[str, Path]) -> FerPlus:
    rows = []
    for name, table in folders.items():
        for line, fields in enumerate(_lines(table), 1):
            box = len(fields) == len(COLUMNS) + 2  # today's files have one, those of the program of the data set do not
            row = _row(table, line, [FOLDERS[name], fields[0], *fields[2 if box else 1 :]], place=line - 1)
            if Path(row.name).name != row.name or not row.name:
                problem = "is not the name of an image in this folder"
                raise ParseError(problem, code="unsafe", file=table, line=line, value=row.name)
            rows.append(row)
    return _data(path, rows, PixelFiles([row.folder / row.name for row in rows]))


def _data(path: Path, rows: list[_Row], pixels: Pixels | None) -> FerPlus:
    if not rows:
        raise FileError("names no image", code="empty", file=path)
    votes: npt.NDArray[np.int64] = np.array([row.votes for row in rows], np.int64)
    partitions = tuple(USAGES[row.usage] for row in rows)
    return FerPlus(path, tuple(row.name for row in rows), partitions, votes, pixels)


def _lines(path: Path) -> list[list[str]]:
    try:
        text = read_bytes(path).decode("utf-8-sig")
        lines = [[value.strip() for value in line] for line in csv.reader(text.splitlines(), strict=True) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileError(f"is not a table of text: {error}", code="wrong-format", file=path) from None
    if not lines:
        raise FileError("empty file", code="empty", file=path)
    return lines


def _row(path: Path, line: int, fields: list[str], *, place: int) -> _Row:
    usage, name, *votes = fields if len(fields) > 1 else ["", ""]
    if len(votes) != len(COLUMNS):
        problem = f"{len(votes)} numbers of votes, expected {len(COLUMNS)}"
        raise ParseError(problem, code="wrong-count", file=path, line=line)
    for column, value in zip(COLUMNS, votes, strict=True):
        if not (value.isascii() and value.isdigit()):
            problem = "is not a number of votes"
            raise ParseError(problem, code="syntax", file=path, line=line, field=column, value=value)
    return _Row(name, usage, tuple(map(int, votes)), place, path.parent)
