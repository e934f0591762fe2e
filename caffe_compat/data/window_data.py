"""WindowData: batches of windows of images, objects and background, as Caffe 1.0 reads them for R-CNN.

Facts from BVLC Caffe 9b89154, window_data_layer.cpp: a batch is first background (overlap below bg_threshold, class 0),
then fg_fraction of it objects (overlap of fg_threshold or more), each drawn from all of its kind; images are read in
colour; a window is stretched to crop_size, with context_pad widened before so that as many pixels of it surround it,
with crop_mode "square" made a square before; what is outside the picture stays 0 after the mean; mirror is drawn
after the window; the mean is taken from the middle of mean_file; window_data_param.scale multiplies.

The list of images and windows has words separated by white space: for each image ``# number``, path, channels, height,
width and the number of windows; for each window class, overlap, x1, y1, x2, y2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from caffe_compat.data.c_random import NO_NUMBERS, CRand, Mersenne
from caffe_compat.data.decode import COLOR, channels_first, decode, map_in_threads, read_file, resize
from caffe_compat.data.source import Cursor, Origin, RandomSource, positive, read_list, register
from caffe_compat.data.transform import check_values, read_mean
from caffe_compat.errors import Code, DataError
from caffe_compat.schema import caffe_pb2 as pb

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Window:
    """A window of an image: its class (0 is background), its corners (inclusive), and its line in the file."""

    image: int
    label: int
    left: int
    top: int
    right: int
    bottom: int
    line: int


@dataclass(frozen=True)
class WindowFile:
    """The contents of a window file; windows whose overlap is between the thresholds are dropped."""

    path: Path
    images: list[str]
    """Names, with root_folder."""
    lines: list[int]
    """First line of each image."""
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


_FIELD = "window_data_param"
_MODES = ("warp", "square")
_F = np.float32


@dataclass(frozen=True)
class Cut:
    """The position of a window in its image (corners, inclusive), and its size and position in the crop."""

    left: int
    top: int
    right: int
    bottom: int
    width: int
    height: int
    pad_x: int = 0
    pad_y: int = 0


def cut(window: Window, image: tuple[int, int], crop: int, context: int, *, square: bool, mirrored: bool) -> Cut:
    """Compute the position of a window in an image (height, width), in float32 as Caffe does.

    `crop` and `context` are the layer's crop_size and context_pad.
    """
    if context <= 0 and not square:
        return Cut(window.left, window.top, window.right, window.bottom, crop, crop)
    scale = _F(crop) / _F(crop - 2 * context)
    half_x, half_y = _F(window.right - window.left + 1) / _F(2), _F(window.bottom - window.top + 1) / _F(2)
    middle_x, middle_y = _F(window.left) + half_x, _F(window.top) + half_y
    if square:
        half_x = half_y = max(half_x, half_y)
    left, width, pads_x, wide = _along(middle_x, half_x, scale, image[1], crop)
    top, height, pads_y, high = _along(middle_y, half_y, scale, image[0], crop)
    pad_x, pad_y = pads_x[mirrored], pads_y[0]
    wide, high = min(wide, crop - pad_x), min(high, crop - pad_y)
    return Cut(left, top, left + width - 1, top + height - 1, wide, high, pad_x, pad_y)


def _along(
    middle: np.float32, half: np.float32, scale: np.float32, extent: int, crop: int
) -> tuple[int, int, tuple[int, int], int]:
    """Return start and length in the picture, the padding before and after, and the length it is stretched to."""
    start, stop = _round(middle - half * scale), _round(middle + half * scale)
    before, after = max(0, -start), max(0, stop - extent + 1)
    stretch = _F(crop) / _F(stop - start + 1)
    length = stop - start + 1 - before - after
    return (
        start + before,
        length,
        (_round(_F(before) * stretch), _round(_F(after) * stretch)),
        _round(_F(length) * stretch),
    )


def _round(value: np.float32) -> int:
    """Return the nearest integer, halves away from zero, as C's round()."""
    whole = math.floor(abs(float(value)) + 0.5)
    return whole if value >= 0 else -whole


@register
class WindowSource(RandomSource):
    """Batches of a WindowData layer."""

    type = "WindowData"

    def __init__(self, layer: pb.LayerParameter, *, base_dir: Path, rng: CRand) -> None:
        self._param = param = layer.window_data_param
        self.tops = tuple(layer.top)
        self.prefetch = int(layer.data_param.prefetch)  # Caffe reads it from there for this type too
        self._layer = layer.name
        self._batch = positive(layer, f"{_FIELD}.batch_size", param.batch_size)
        self._mirror = layer.transform_param.mirror
        self._crop = int(layer.transform_param.crop_size)
        self._check(layer)
        # Caffe seeds its unused transformer before and after its own generator.
        transforms = self._mirror or layer.phase == pb.TRAIN
        if transforms:
            rng.draw()
        self._rng = Mersenne(rng.draw())
        for _ in range(2 if transforms else 1):
            rng.draw()
        self._file = read_windows(layer, base_dir)
        if not (self._file.objects and self._file.background):
            kind, field = ("background", "bg_threshold") if self._file.objects else ("object", "fg_threshold")
            problem = f"no {kind} windows in {self._file.path}"
            raise DataError(
                problem, code="empty", layer=layer.name, field=f"{_FIELD}.{field}", value=getattr(param, field)
            )
        self._mean = self._read_mean(layer, base_dir)
        self._bytes = lru_cache(None if param.cache_images else 0)(self._read)
        self.shapes = {self.tops[0]: (self._batch, 3, self._crop, self._crop), self.tops[1]: (self._batch,)}

    def _check(self, layer: pb.LayerParameter) -> None:
        param = self._param
        problem: tuple[Code, str, str, object, str] | None = None
        if self._crop < 1:
            hint = "the size of a warped window"
            problem = "field-missing", "must be set", "transform_param.crop_size", self._crop, hint
        elif param.crop_mode not in _MODES:
            hint = f"choose one of {', '.join(_MODES)}"
            problem = "name-unknown", "unknown mode", f"{_FIELD}.crop_mode", param.crop_mode, hint
        elif 2 * param.context_pad >= self._crop:
            hint = f"must be below half of crop_size = {self._crop}"
            problem = "out-of-range", "leaves no window", f"{_FIELD}.context_pad", param.context_pad, hint
        elif not 0 <= param.fg_fraction <= 1:
            problem = "out-of-range", "out of range", f"{_FIELD}.fg_fraction", param.fg_fraction, "0 to 1"
        if problem:
            code, text, field, value, hint = problem
            raise DataError(text, code=code, layer=layer.name, field=field, value=value, hint=hint)

    def _read_mean(self, layer: pb.LayerParameter, base_dir: Path) -> npt.NDArray[np.float32] | None:
        values = list(layer.transform_param.mean_value)
        check_values(values, 3, Origin(layer.name))
        mean = read_mean(layer, base_dir)
        if mean is None:
            return np.array(values, np.float32).repeat(3 // len(values))[:, None, None] if values else None
        start = (mean.shape[2] - self._crop) // 2
        middle = mean[:, start : start + self._crop, start : start + self._crop]
        if start < 0 or middle.shape != (3, self._crop, self._crop):
            raise DataError(
                f"mean is {' x '.join(map(str, mean.shape))}, expected at least 3 x {self._crop} x {self._crop}",
                code="shape-mismatch", layer=layer.name, field="transform_param.mean_file",
                value=layer.transform_param.mean_file,
            )  # fmt: skip
        return middle

    def reset(self) -> None:
        """Do nothing: windows are drawn at random, and the random numbers continue."""

    @property
    def _generators(self) -> dict[str, Mersenne | None]:
        return {"random": self._rng}

    def _position(self) -> Cursor:
        """Return the numbers of images, objects and background windows."""
        file = self._file
        return {"counts": np.array([len(file.images), len(file.objects), len(file.background)])}

    def _has_position(self, cursor: Cursor) -> bool:
        return np.array_equal(cursor.get("counts", NO_NUMBERS), self._position()["counts"])

    def _go_to(self, cursor: Cursor) -> None:
        """Do nothing: windows have no order."""

    def next(self) -> dict[str, torch.Tensor]:
        """Return the next batch."""
        drawn = list(self._drawn())
        data = np.zeros(self.shapes[self.tops[0]], np.float32)

        def fill(row: int) -> None:
            self._put(*drawn[row], data[row])

        map_in_threads(fill, range(self._batch))
        labels = np.array([window.label for window, _ in drawn], np.float32)
        return {self.tops[0]: torch.from_numpy(data), self.tops[1]: torch.from_numpy(labels)}

    def _drawn(self) -> Iterator[tuple[Window, bool]]:
        objects = int(_F(self._batch) * _F(self._param.fg_fraction))
        for windows, count in ((self._file.background, self._batch - objects), (self._file.objects, objects)):
            for _ in range(count):
                window = windows[self._rng.draw() % len(windows)]
                yield window, self._mirror and self._rng.draw() % 2 == 1

    def _put(self, window: Window, mirrored: bool, out: npt.NDArray[np.float32]) -> None:  # noqa: FBT001
        origin = Origin(self._layer, self._file.path, window.line, f"image {self._file.images[window.image]!r}")
        image = decode(self._bytes(window.image), COLOR, origin)
        high, wide = image.shape[:2]
        square = self._param.crop_mode == "square"
        place = cut(window, (high, wide), self._crop, self._param.context_pad, square=square, mirrored=mirrored)
        inside = 0 <= place.left <= place.right < wide and 0 <= place.top <= place.bottom < high
        if not inside or min(place.width, place.height) < 1:
            corners = f"{window.left} {window.top} {window.right} {window.bottom}"
            problem = f"window {corners} is outside the image of {wide} x {high} pixels"
            raise origin.error(problem, code="out-of-range", hint="corners are x1 y1 x2 y2, counted from 0")
        part = np.ascontiguousarray(image[place.top : place.bottom + 1, place.left : place.right + 1])
        part = resize(part, place.width, place.height)
        if mirrored:
            part = part[:, ::-1]
        region = np.s_[:, place.pad_y : place.pad_y + place.height, place.pad_x : place.pad_x + place.width]
        target = out[region]
        target[...] = channels_first(part)
        if self._mean is not None:
            target -= self._mean if self._mean.shape[1] == 1 else self._mean[region]
        target *= _F(self._param.scale)

    def _read(self, image: int) -> bytes:
        name = self._file.images[image]
        origin = Origin(self._layer, self._file.path, self._file.lines[image], f"image {name!r}")
        return read_file(name, self._file.path.parent, origin)
