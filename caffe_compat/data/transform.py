"""transform_param: crop, mirror, mean and scale of an image, as in Caffe 1.0's DataTransformer.

Facts from BVLC Caffe 9b89154, data_transformer.cpp: it has its own generator, seeded at setup and again before the
first batch; per image it draws mirror, row and column, as needed; the crop is random in TRAIN only, else central,
rounded to the top left; the mean is subtracted before mirroring, then the image is scaled; all in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Sized
from pathlib import Path

import numpy as np
import numpy.typing as npt

from caffe_compat.data.c_random import CRand, Mersenne
from caffe_compat.data.decode import Image, map_in_threads
from caffe_compat.data.source import Origin, find_source
from caffe_compat.errors import DataError
from caffe_compat.formats.files import read_binary
from caffe_compat.schema import caffe_pb2 as pb

Draws = npt.NDArray[np.int64]
"""The random numbers of an image: mirror, row, column; 0 if not drawn."""


class DataTransformer:
    """The transform_param of a layer; `rng` is None where nothing is drawn."""

    def __init__(self, layer: pb.LayerParameter, *, base_dir: Path, rng: CRand) -> None:
        self._param = layer.transform_param
        self._layer = layer.name
        self.crop = int(self._param.crop_size)
        self._train = layer.phase == pb.TRAIN
        self._scale = np.float32(self._param.scale)
        self._values = np.array(self._param.mean_value, np.float32)
        self.mean = read_mean(layer, base_dir)
        self._columns = [column for column, drawn in enumerate(self._drawn()) if drawn]
        self.rng: Mersenne | None = None
        self.seed(rng)

    def _drawn(self) -> tuple[bool, bool, bool]:
        random_crop = self._train and self.crop > 0
        return self._param.mirror, random_crop, random_crop

    def seed(self, rng: CRand) -> None:
        """Seed the random numbers."""
        if self._columns:
            self.rng = Mersenne(rng.draw())

    def draws(self, count: int) -> npt.NDArray[np.int64]:
        """Return the random numbers of the next images: (count, 3)."""
        out = np.zeros((count, 3), np.int64)
        if self.rng is not None:
            out[:, self._columns] = self.rng.draws(count * len(self._columns)).reshape(count, -1)
        return out

    def shape(self, image: Sequence[int], origin: Origin) -> tuple[int, int, int]:
        """Return the transformed shape of an image of shape (channels, height, width)."""
        channels, height, width = image
        if min(height, width) < max(self.crop, 1) or channels < 1:
            problem = f"image is {channels} x {height} x {width}, smaller than the crop"
            raise origin.error(problem, code="shape-mismatch", field="transform_param.crop_size", value=self.crop)
        if self.mean is not None and self.mean.shape != (channels, height, width):
            raise origin.error(
                f"image is {_join(image)}, the mean is {_join(self.mean.shape)}", code="shape-mismatch",
                field="transform_param.mean_file", value=self._param.mean_file,
            )  # fmt: skip
        check_values(self._values, channels, origin)
        return (channels, self.crop, self.crop) if self.crop else (channels, height, width)

    def batch(
        self, count: int, image: Callable[[int], Image], origin: Callable[[int], Origin], *, threads: bool
    ) -> npt.NDArray[np.float32]:
        """Transform the next images, which all get one shape: (count, channels, height, width) float32."""
        draws = self.draws(count)
        first = image(0)
        shape = self.shape(first.shape, origin(0))
        data = np.empty((count, *shape), np.float32)

        def fill(row: int) -> None:
            current = image(row) if row else first
            current_shape = self.shape(current.shape, origin(row))
            if current_shape != shape:
                hint = "set crop_size, or new_height and new_width, to give all images the same size"
                problem = f"transformed shape is {_join(current_shape)}, the first in its batch has {_join(shape)}"
                raise origin(row).error(problem, code="shape-mismatch", hint=hint)
            self.apply(current, draws[row], data[row])

        if threads:
            map_in_threads(fill, range(count))
        else:
            for row in range(count):
                fill(row)
        return data

    def apply(self, image: Image, draws: Draws, out: npt.NDArray[np.float32]) -> None:
        """Transform an image into `out`, which has the transformed shape."""
        self._place(image, draws, out)
        self._subtract_values_and_scale(out)

    def stack(self, images: Image, origin: Origin) -> npt.NDArray[np.float32]:
        """Transform images (count, channels, height, width), like `batch` but in fewer steps."""
        draws = self.draws(len(images))
        data = np.empty((len(images), *self.shape(images.shape[1:], origin)), np.float32)
        if self._columns or self.mean is not None:
            for image, numbers, out in zip(images, draws, data, strict=True):
                self._place(image, numbers, out)
        else:  # all images are treated the same
            data[...] = images[:, *self._crop_slices(images.shape[1:], draws[0])]
        self._subtract_values_and_scale(data)
        return data

    def _crop_slices(self, image: Sequence[int], draws: Draws) -> tuple[slice, slice, slice]:
        """Return the slices of the crop."""
        if not self.crop:
            return slice(None), slice(None), slice(None)
        _, row, column = draws.tolist()
        high, wide = (extent - self.crop for extent in image[1:])
        top, left = (row % (high + 1), column % (wide + 1)) if self._train else (high // 2, wide // 2)
        return slice(None), slice(top, top + self.crop), slice(left, left + self.crop)

    def _place(self, image: Image, draws: Draws, out: npt.NDArray[np.float32]) -> None:
        """Copy the crop into `out`, mirrored if drawn, and subtract the mean image."""
        part = self._crop_slices(image.shape, draws)
        target = out[:, :, ::-1] if draws[0] % 2 else out
        target[...] = image[part]
        if self.mean is not None:
            target -= self.mean[part]

    def _subtract_values_and_scale(self, out: npt.NDArray[np.float32]) -> None:
        if self.mean is None and self._values.size:
            out -= self._values[:, None, None]
        if self._scale != 1:
            out *= self._scale


def check_values(values: Sized, channels: int, origin: Origin, field: str = "mean_value") -> None:
    """Refuse values of transform_param that are neither one nor one for each channel."""
    if len(values) not in (0, 1, channels):
        problem, hint = f"{len(values)} values for {channels} channels", f"give 1 or {channels}"
        raise origin.error(problem, code="wrong-count", field=f"transform_param.{field}", hint=hint)


def read_mean(layer: pb.LayerParameter, base_dir: Path) -> npt.NDArray[np.float32] | None:
    """Read the mean image in transform_param's mean_file, (channels, height, width), or return None."""
    param = layer.transform_param
    if not param.HasField("mean_file"):
        return None
    field = "transform_param.mean_file"
    if param.mean_value:
        raise DataError(
            "mean_value is set too", code="conflict", layer=layer.name, field=field, value=param.mean_file,
            hint="remove one of the two",
        )  # fmt: skip
    path = find_source(layer, field, param.mean_file, base_dir, "file")
    blob, store = read_binary(path, pb.BlobProto)
    values = np.asarray(store.data(blob), np.float32)
    if values.ndim > 4 or values.size == 0:
        raise DataError(
            f"blob has shape {values.shape}, expected an image", code="shape-mismatch", file=path, layer=layer.name
        )
    legacy = values.reshape(values.shape + (1,) * (4 - values.ndim))  # Caffe's channels(), height() and width()
    return np.ascontiguousarray(legacy[0])


def _join(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
