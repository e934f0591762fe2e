"""DenseImageData and ImageSegData: batches of the images in a list, each with an image of the labels of its pixels.

Facts from alexgkendall/caffe-segnet (dense_image_data_layer.cpp) and hszhao/PSPNet (image_seg_data_layer.cpp,
data_transformer.cpp: TransformImgAndSeg). A line has the names of an image and of its labels; root_folder is prepended
unchanged to both. Names are looked up in the working directory, then next to the list.

The random numbers are drawn from a generator of the layer, in the order of the forks' code. SegNet's draws those of
mirror and crop from the generator that the whole process shares, in a thread of its own: no run repeats another.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from caffe_compat.data.c_random import CRand, Mersenne
from caffe_compat.data.decode import COLOR, GRAY, decode, map_in_threads, read_file
from caffe_compat.data.list_order import ListOrder, ListSource
from caffe_compat.data.source import Origin, positive, read_list, register, spec_of
from caffe_compat.data.transform import check_values, read_mean
from caffe_compat.errors import DataError
from caffe_compat.layers import LayerSpec
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.schema import forks_pb2 as fb

Picture = npt.NDArray[Any]
"""(height, width, channels)."""
Sample = tuple[npt.NDArray[np.float32], ...]
"""An image (channels, height, width), its labels (1, height, width), and for ImageSegData its size (1, 1, 2)."""


class _PairSource(ListSource):
    """Base of both sources."""

    field: str

    def __init__(self, layer: pb.LayerParameter, *, base_dir: Path, rng: CRand) -> None:
        spec = spec_of(layer)
        self._param = param = spec.message(self.field)
        self._transform = layer.transform_param
        self.tops = tuple(layer.top)
        self._layer = layer.name
        self._train = layer.phase == pb.TRAIN
        self._batch = positive(layer, f"{self.field}.batch_size", param.batch_size)
        self._drawn = self._prepare(spec)
        self._path, lines = read_list(layer, self.field, param.source, base_dir)
        self._names = [self._parse(number, line) for number, line in enumerate(lines, 1)]
        self._values = np.array(self._transform.mean_value, np.float32)
        self._mean = read_mean(layer, base_dir)
        self._lines = ListOrder(
            len(lines), shuffle=param.shuffle, rand_skip=param.rand_skip, rng=rng, layer=layer.name, field=self.field
        )
        self._rng = Mersenne(rng.draw()) if self._drawn else None
        first = self._sample(self._lines.next_line, np.zeros(self._drawn, np.int64))
        self.shapes = {top: tuple(value.shape) for top, value in self._stacked([first] * self._batch).items()}

    @abstractmethod
    def _prepare(self, spec: LayerSpec) -> int:
        """Read the fields of the type; return the number of random numbers per image."""

    @abstractmethod
    def _sample(self, line: int, draws: npt.NDArray[np.int64]) -> Sample:
        """Return the image of a line and what belongs to it."""

    def _parse(self, number: int, line: str) -> tuple[str, str]:
        words = line.split()
        if len(words) != 2:
            raise DataError(
                "expected the names of an image and of its labels", code="syntax", file=self._path, line=number,
                layer=self._layer, value=line,
            )  # fmt: skip
        return words[0], words[1]

    def next(self) -> dict[str, torch.Tensor]:
        """Return the next batch; all of its images must have the shape of the first."""
        lines = [self._lines.take() for _ in range(self._batch)]
        count = self._batch * self._drawn
        numbers = np.zeros(0, np.int64) if self._rng is None else self._rng.draws(count)
        rows = numbers.reshape(self._batch, -1)
        samples = map_in_threads(lambda row: self._sample(lines[row], rows[row]), range(self._batch))
        for line, sample in zip(lines, samples, strict=True):
            if sample[0].shape != samples[0][0].shape:
                problem = f"shape is {sample[0].shape}, the first in its batch has {samples[0][0].shape}"
                raise self._origin(line, 0).error(problem, code="shape-mismatch", hint="set a crop, or a new size")
        return {top: torch.from_numpy(value) for top, value in self._stacked(samples).items()}

    def _stacked(self, samples: Sequence[Sample]) -> dict[str, npt.NDArray[np.float32]]:
        return {top: np.stack(values) for top, values in zip(self.tops, zip(*samples, strict=True), strict=False)}

    @property
    def _generators(self) -> dict[str, Mersenne | None]:
        return {"random": self._rng}

    def _origin(self, line: int, which: int) -> Origin:
        kind = ("image", "labels")[which]
        return Origin(
            self._layer, self._path, line + 1, f"{kind} {self._param.root_folder + self._names[line][which]!r}"
        )

    def _read(self, line: int, which: int, *, nearest: bool = False) -> Picture:
        """Return the image (0) or the labels (1) of a line, resized."""
        import cv2

        origin = self._origin(line, which)
        content = read_file(self._param.root_folder + self._names[line][which], self._path.parent, origin)
        picture: Picture = decode(content, COLOR if which == 0 and self._param.is_color else GRAY, origin)
        if self._param.new_height:
            mode = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
            size = self._param.new_width, self._param.new_height
            picture = cv2.resize(picture, size, interpolation=mode).reshape(size[1], size[0], -1)
        return picture

    def _matching(self, line: int, image: Picture, labels: Picture) -> None:
        if image.shape[:2] != labels.shape[:2]:
            problem = f"size is {labels.shape[:2]}, that of the image is {image.shape[:2]}"
            raise self._origin(line, 1).error(problem, code="shape-mismatch")
        check_values(self._values, image.shape[2], self._origin(line, 0))

    def _window(
        self, line: int, picture: Picture, crop: tuple[int, int], place: Sequence[int] | None
    ) -> tuple[slice, slice]:
        """Return the rows and columns of a crop: drawn, or central."""
        rooms = [size - part for size, part in zip(picture.shape, crop, strict=False)]
        if min(rooms) < 0:
            problem = f"is {picture.shape[0]} x {picture.shape[1]}, smaller than the crop {crop[0]} x {crop[1]}"
            raise self._origin(line, 0).error(problem, code="shape-mismatch")
        top, left = (n % (room + 1) for n, room in zip(place, rooms, strict=True)) if place else (r // 2 for r in rooms)
        return slice(top, top + crop[0]), slice(left, left + crop[1])

    def _finished(self, image: Picture, mean: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float32]:
        """Return (channels, height, width): mean subtracted, scaled."""
        out = np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)
        if mean is not None:
            out -= mean
        elif self._values.size:
            out -= self._values[:, None, None]
        return out * np.float32(self._transform.scale)


@register
class DenseImageSource(_PairSource):
    """Batches of a DenseImageData layer."""

    type = "DenseImageData"
    field = "dense_image_data_param"

    def _prepare(self, spec: LayerSpec) -> int:  # noqa: ARG002
        self._crop = (int(self._param.crop_height), int(self._param.crop_width))
        return int(self._param.mirror) + 2 * bool(self._crop[0])  # the crop is random in TEST too

    def _sample(self, line: int, draws: npt.NDArray[np.int64]) -> Sample:
        image, labels = self._read(line, 0), self._read(line, 1, nearest=True)
        self._matching(line, image, labels)
        numbers = draws.tolist()
        if self._param.mirror and numbers.pop(0) % 2:
            image, labels = image[:, ::-1], labels[:, ::-1]
        if self._crop[0]:
            window = self._window(line, image, self._crop, numbers)
            image, labels = image[window], labels[window]
        if self._mean is not None and self._mean.shape != (image.shape[2], *image.shape[:2]):
            problem = f"image is {image.shape}, the mean is {self._mean.shape}"
            raise self._origin(line, 0).error(problem, code="shape-mismatch", field="transform_param.mean_file")
        return self._finished(image, self._mean), np.ascontiguousarray(labels.transpose(2, 0, 1), np.float32)


@register
class ImageSegSource(_PairSource):
    """Batches of an ImageSegData layer; its labels are resized like images, between classes too, as in the fork."""

    type = "ImageSegData"
    field = "image_data_param"

    def _prepare(self, spec: LayerSpec) -> int:
        added = spec.additions("transform_param")
        size = int(self._transform.crop_size)
        self._crop = (size, size) if size else (int(added.crop_height), int(added.crop_width))
        self._factors = list(added.scale_factors)
        self._labels = spec.additions("image_data_param")
        self._random_crop = self._train and self._crop[0] > 0
        return int(self._transform.mirror) + bool(self._factors) + 2 * self._random_crop

    def _parse(self, number: int, line: str) -> tuple[str, str]:
        if self._label_type == fb.SegImageData.PIXEL:
            return super()._parse(number, line)
        words = line.split()
        if not words:
            raise DataError(
                "expected the name of an image", code="syntax", file=self._path, line=number, layer=self._layer
            )
        return words[0], words[1] if len(words) > 1 else ""

    @property
    def _label_type(self) -> int:
        return int(self._labels.label_type)

    def _sample(self, line: int, draws: npt.NDArray[np.int64]) -> Sample:
        image = self._read(line, 0)
        size = image.shape[:2]
        labels = self._label_map(line, image)
        self._matching(line, image, labels)
        numbers = draws.tolist()
        mirrored = bool(self._transform.mirror and numbers.pop(0) % 2)
        if self._factors:
            image, labels = self._scaled(image, labels, self._factors[numbers.pop(0) % len(self._factors)])
        if self._crop[0]:
            image, labels = self._padded(line, image, labels)
            window = self._window(line, image, self._crop, numbers if self._random_crop else None)
            image, labels = image[window], labels[window]
        if mirrored:
            image, labels = image[:, ::-1], labels[:, ::-1]
        if self._crop[0]:
            size = min(size[0], self._crop[0]), min(size[1], self._crop[1])
        data, maps = self._finished(image, None), np.ascontiguousarray(labels.transpose(2, 0, 1), np.float32)
        return data, maps, np.array([[size]], np.float32)

    def _label_map(self, line: int, image: Picture) -> Picture:
        """Return the labels (height, width, 1) uint8: read, or all those of the image's class or of the ignored one."""
        if self._label_type == fb.SegImageData.PIXEL:
            return self._read(line, 1)
        value = self._labels.ignore_label
        if self._label_type == fb.SegImageData.IMAGE:
            word = self._names[line][1]
            if not word.isdecimal() or int(word) > 255:
                problem = "expected the name of an image and the number of its class, 0 to 255"
                raise self._origin(line, 1).error(problem, code="syntax", value=word)
            value = int(word)
        return np.full((*image.shape[:2], 1), value, np.uint8)

    def _scaled(self, image: Picture, labels: Picture, factor: float) -> tuple[Picture, Picture]:
        import cv2

        if factor == 1:
            return image, labels
        high, wide = (int(np.float32(size) * np.float32(factor)) for size in image.shape[:2])
        resized = cv2.resize(image, (wide, high), interpolation=cv2.INTER_LINEAR)
        nearest = cv2.resize(labels, (wide, high), interpolation=cv2.INTER_NEAREST)
        return resized.reshape(high, wide, -1), nearest.reshape(high, wide, -1)

    def _padded(self, line: int, image: Picture, labels: Picture) -> tuple[Picture, Picture]:
        """Return both with the mean's colour and the ignored label added below and at the right, up to the crop."""
        high, wide = (max(crop - size, 0) for crop, size in zip(self._crop, image.shape, strict=False))
        if not high and not wide:
            return image, labels
        if not self._values.size:
            problem = "is smaller than the crop, and there is no mean_value to fill it up with"
            raise self._origin(line, 0).error(problem, code="field-missing", field="transform_param.mean_value")
        shape = (image.shape[0] + high, image.shape[1] + wide)
        filled = np.empty((*shape, image.shape[2]), np.float64)
        filled[:] = self._values
        filled[: image.shape[0], : image.shape[1]] = image
        marked = np.full((*shape, 1), self._labels.ignore_label, np.uint8)
        marked[: image.shape[0], : image.shape[1]] = labels
        return filled, marked
