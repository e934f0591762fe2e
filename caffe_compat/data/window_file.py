"""Read the list of images and windows of WindowData.

Facts from BVLC Caffe 9b89154, window_data_layer.cpp: words separated by white space; for each image ``# number``, path,
channels, height, width and the number of windows; for each window class, overlap, x1, y1, x2, y2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from caffe_compat.data.source import read_list
from caffe_compat.errors import Code, DataError
from caffe_compat.schema import caffe_pb2 as pb

_FIELD = "window_data_param"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Window:
    """A window.

    Attributes
    ----------
    image : number of its image.
    label : class, 0 for background.
    left, top, right, bottom : corners, inclusive.
    line : line in the file.
    """

    image: int
    label: int
    left: int
    top: int
    right: int
    bottom: int
    line: int


@dataclass(frozen=True)
class WindowFile:
    """The contents of a window file.

    Attributes
    ----------
    path : of the file.
    images : names, with root_folder.
    lines : first line of each image.
    objects, background : windows by their overlap; those between the thresholds are dropped.
    """

    path: Path
    images: list[str]
    lines: list[int]
    objects: list[Window]
    background: list[Window]


class _Words:
    """Iterate over the words of a file with their lines."""

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
            raise self.error(f"the file ends, expected {what}", code="damaged-file", hint="check that it is complete")
        word, self.line = self._ahead
        self._ahead = next(self._words, None)
        try:
            return kind(word)
        except ValueError:
            raise self.error(f"expected {what}", word) from None

    def error(self, problem: str, value: object = None, hint: str | None = None, *, code: Code = "syntax") -> DataError:
        return DataError(problem, code=code, file=self._path, line=self.line, layer=self._layer, value=value, hint=hint)


def read_windows(layer: pb.LayerParameter, base_dir: Path) -> WindowFile:
    """Read the file of a WindowData layer."""
    param = layer.window_data_param
    path, lines = read_list(layer, _FIELD, param.source, base_dir)
    words = _Words(path, lines, layer.name)
    file = WindowFile(path, [], [], [], [])
    objects, background = np.float32(param.fg_threshold), np.float32(param.bg_threshold)
    while not words.ended:
        _read_head(words, file, param.root_folder)
        for window, overlap in _read_windows(words, len(file.images) - 1):
            if overlap >= objects:
                if window.label < 1:
                    raise words.error("the class of an object must be at least 1", window.label, code="out-of-range")
                file.objects.append(window)
            elif overlap < background:
                file.background.append(
                    Window(window.image, 0, window.left, window.top, window.right, window.bottom, window.line)
                )
    return file


def _read_head(words: _Words, file: WindowFile, root: str) -> None:
    marker = words.take("# before an image", str)
    if marker != "#":
        raise words.error("expected # before an image", marker, "check the number of windows of the image above")
    file.lines.append(words.line)
    number = words.take("the number of an image", int)
    if number != len(file.images):
        raise words.error(f"image number out of sequence, expected {len(file.images)}", number, code="invalid")
    file.images.append(root + words.take("the path of an image", str))
    channels = words.take("a number of channels", int)
    if channels != 3:
        raise words.error("images must have 3 channels", channels, code="unsupported")
    words.take("a height", int)
    words.take("a width", int)


def _read_windows(words: _Words, image: int) -> Iterator[tuple[Window, np.float32]]:
    for _ in range(words.take("the number of windows", int)):
        label = words.take("a class", int)
        overlap = words.take("an overlap", np.float32)
        left, top, right, bottom = (words.take(f"the corner {name}", int) for name in ("x1", "y1", "x2", "y2"))
        yield Window(image, label, left, top, right, bottom, words.line), overlap
