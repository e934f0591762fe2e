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

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import FileError, ParseError
from lq_emotion.common.text_table import Row, Table, read_cells
from lq_emotion.datasets.ferplus.pixels import Image, PixelFiles, Pixels, PixelTable
from lq_emotion.datasets.ferplus.votes import COLUMNS, Integers

LABELS, PIXELS, FOLDER_LABELS = "fer2013new.csv", "fer2013.csv", "label.csv"
FOLDERS = {"FER2013Train": "Training", "FER2013Valid": "PublicTest", "FER2013Test": "PrivateTest"}
USAGES = {"Training": "train", "PublicTest": "dev", "PrivateTest": "test"}
"""The data set's names of its partitions, and ours."""
_USAGE, _NAME = "Usage", "Image name"
_HINT = f"a folder with {LABELS} and {PIXELS}, or with FER2013Train, FER2013Valid and FER2013Test"


@dataclass(frozen=True)
class FerPlus:
    """The images of FER+ and the votes on them.

    Attributes
    ----------
    path : the table of labels, or the folder of the three folders.
    names : names of the images, such as ``fer0000000.png``. In the published table, four names are in two rows.
    partitions : train, dev or test of each image, as published.
    votes : (N, 10) int64, in the order of `votes.COLUMNS`.
    """

    path: Path
    names: tuple[str, ...]
    partitions: tuple[str, ...]
    votes: Integers = field(repr=False)
    _pixels: Pixels | None = field(default=None, repr=False)

    def image(self, index: int) -> Image:
        """Decode the image at a place: (48, 48) uint8."""
        if self._pixels is None:
            hint = f"put Kaggle's {PIXELS} next to it"
            raise FileError("contains votes without images", code="file-missing", file=self.path, hint=hint)
        return self._pixels(index)

    def images(self, indices: Iterable[int]) -> Image:
        """Decode several images: (K, 48, 48) uint8; see `image`."""
        return np.stack([self.image(int(index)) for index in indices])


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
        if row[_USAGE] not in USAGES:
            raise row.error("unknown partition", "name-unknown", _USAGE, hint=", ".join(USAGES))
    places = [place for place, row in enumerate(rows) if row[_NAME]]
    named = [(USAGES[rows[place][_USAGE]], rows[place]) for place in places]
    if pixels is None:
        return _data(path, named, None)
    source = PixelTable(pixels)
    _require_same_rows(path, [row[_USAGE] for row in rows], source)
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
    for folder, path_of_labels in folders.items():
        table = Table.of(path_of_labels, (_NAME, *COLUMNS), _without_boxes(path_of_labels), line=None)
        for row in table.rows:
            if Path(row[_NAME]).name != row[_NAME] or not row[_NAME]:
                raise row.error("is not the name of an image in this folder", "unsafe", _NAME)
            rows.append((USAGES[FOLDERS[folder]], row))
    return _data(path, rows, PixelFiles([row.path.parent / row[_NAME] for _, row in rows]))


def _without_boxes(path: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield (line, name and votes); today's files have a box after the name, those of the data set's program do not."""
    for line, cells in read_cells(path, ","):
        yield line, (cells[0], *cells[2:]) if len(cells) == len(COLUMNS) + 2 else cells


def _data(path: Path, rows: list[tuple[str, Row]], pixels: Pixels | None) -> FerPlus:
    if not rows:
        raise FileError("names no image", code="empty", file=path)
    votes: npt.NDArray[np.int64] = np.array([_votes(row) for _, row in rows], np.int64)
    return FerPlus(path, tuple(row[_NAME] for _, row in rows), tuple(part for part, _ in rows), votes, pixels)


def _votes(row: Row) -> list[int]:
    for column in COLUMNS:
        if not (row[column].isascii() and row[column].isdigit()):
            raise row.error("is not a number of votes", "syntax", column)
    return [int(row[column]) for column in COLUMNS]
