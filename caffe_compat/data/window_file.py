"""The text that lists WindowData's pictures and windows.

Facts from BVLC Caffe 9b89154, window_data_layer.cpp: words between white space; for every picture ``# number``, its
path, channels, height, width, the number of windows, and for every window class, overlap, x1, y1, x2, y2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from caffe_compat.data.origin import read_list
from caffe_compat.errors import DataError
from caffe_compat.schema import caffe_pb2 as pb

_FIELD = "window_data_param"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Window:
    """One window.

    Attributes
    ----------
    picture : number of its picture.
    label : class, 0 for background.
    left, top, right, bottom : corners, both included.
    line : where it stands in the file.
    """

    picture: int
    label: int
    left: int
    top: int
    right: int
    bottom: int
    line: int


@dataclass(frozen=True)
class WindowFile:
    """What a file holds.

    Attributes
    ----------
    path : of the file.
    pictures : names, root_folder before each.
    lines : where each picture's part begins.
    objects, background : the windows of either kind; those in between are left out.
    """

    path: Path
    pictures: list[str]
    lines: list[int]
    objects: list[Window]
    background: list[Window]


class _Words:
    """The words of a file, one after the other, with the line each is on."""

    def __init__(self, path: Path, lines: list[str], layer: str) -> None:
        self._path, self._layer = path, layer
        self._words = ((word, number) for number, line in enumerate(lines, 1) for word in line.split())
        self._ahead = next(self._words, None)
        self.line = 1

    @property
    def ended(self) -> bool:
        return self._ahead is None

    def take(self, what: str, kind: Callable[[str], _T]) -> _T:
        if self._ahead is None:
            raise self.error(f"the file ends where {what} must come", hint="is it whole?")
        word, self.line = self._ahead
        self._ahead = next(self._words, None)
        try:
            return kind(word)
        except ValueError:
            raise self.error(f"is not {what}", word) from None

    def error(self, problem: str, value: object = None, hint: str | None = None) -> DataError:
        return DataError(problem, file=self._path, line=self.line, layer=self._layer, value=value, hint=hint)


def read_windows(layer: pb.LayerParameter, base_dir: Path) -> WindowFile:
    """Read the file of a WindowData layer.

    Raises
    ------
    DataError
        naming the line that does not follow the format.
    """
    param = layer.window_data_param
    path, lines = read_list(layer, _FIELD, param.source, base_dir)
    words = _Words(path, lines, layer.name)
    file = WindowFile(path, [], [], [], [])
    objects, background = np.float32(param.fg_threshold), np.float32(param.bg_threshold)
    while not words.ended:
        _read_head(words, file, param.root_folder)
        for window, overlap in _read_windows(words, len(file.pictures) - 1):
            if overlap >= objects:
                if window.label < 1:
                    raise words.error("an object's class must be at least 1", window.label)
                file.objects.append(window)
            elif overlap < background:
                file.background.append(
                    Window(window.picture, 0, window.left, window.top, window.right, window.bottom, window.line)
                )
    return file


def _read_head(words: _Words, file: WindowFile, root: str) -> None:
    sign = words.take("# before a picture", str)
    if sign != "#":
        raise words.error("# must come before a picture", sign, "are there as many windows as the line above says?")
    file.lines.append(words.line)
    number = words.take("the number of a picture", int)
    if number != len(file.pictures):
        raise words.error("pictures are numbered from 0 without a gap", number, f"this is number {len(file.pictures)}")
    file.pictures.append(root + words.take("the path of a picture", str))
    channels = words.take("a number of channels", int)
    if channels != 3:
        raise words.error("pictures are read in colour, so there are 3 channels", channels)
    words.take("a height", int)
    words.take("a width", int)


def _read_windows(words: _Words, picture: int) -> Iterator[tuple[Window, np.float32]]:
    for _ in range(words.take("the number of windows", int)):
        label = words.take("a class", int)
        overlap = words.take("an overlap", np.float32)
        left, top, right, bottom = (words.take(f"the corner {name}", int) for name in ("x1", "y1", "x2", "y2"))
        yield Window(picture, label, left, top, right, bottom, words.line), overlap
