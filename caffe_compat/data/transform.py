"""transform_param: crop, mirror, mean and scale of one picture, as Caffe 1.0's DataTransformer does it.

Facts from BVLC Caffe 9b89154, data_transformer.cpp: a generator of its own is seeded when it is set up, and once more
before the first batch; of every picture the draws are mirror, row, column, those that are needed; the crop is random in
TRAIN only, else in the middle, rounded to the top left; the mean is subtracted where the picture was before it was
mirrored, then it is scaled; all in float32.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from caffe_compat.data.c_random import Randomness
from caffe_compat.data.decode import Picture, side_by_side
from caffe_compat.data.mt19937 import Mersenne, is_state
from caffe_compat.data.origin import At
from caffe_compat.data.source import find_input, looked_in
from caffe_compat.errors import DataError
from caffe_compat.formats.files import read_binary
from caffe_compat.schema import caffe_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Draws = npt.NDArray[np.int64]
"""The random numbers of one picture: mirror, row, column; 0 where none is drawn."""


class Transformer:
    """The transform_param of a layer.

    Parameters
    ----------
    layer : its definition, with its phase.
    base_dir : folder where a mean_file is looked for if it is not in the working directory.
    rng : gives the seed.

    Raises
    ------
    DataError
        for a mean that cannot be used.
    """

    def __init__(self, layer: pb.LayerParameter, *, base_dir: Path, rng: Randomness) -> None:
        self._param = layer.transform_param
        self._layer = layer.name
        self.crop = int(self._param.crop_size)
        self._train = layer.phase == pb.TRAIN
        self._scale = np.float32(self._param.scale)
        self._values = np.array(self._param.mean_value, np.float32)
        self.mean = read_mean(layer, base_dir)
        self._columns = [column for column, drawn in enumerate(self._drawn()) if drawn]
        self._rng: Mersenne | None = None
        self.seed(rng)

    def _drawn(self) -> tuple[bool, bool, bool]:
        random_crop = self._train and self.crop > 0
        return self._param.mirror, random_crop, random_crop

    def seed(self, rng: Randomness) -> None:
        """Start the random numbers anew."""
        if self._columns:
            self._rng = Mersenne(rng.draw())

    def draws(self, count: int) -> npt.NDArray[np.int64]:
        """Return the random numbers of the next pictures: (count, 3)."""
        out = np.zeros((count, 3), np.int64)
        if self._rng is not None:
            out[:, self._columns] = self._rng.draws(count * len(self._columns)).reshape(count, -1)
        return out

    @property
    def state(self) -> npt.NDArray[np.int64]:
        """What the next random numbers are made of; empty where there are none."""
        return np.zeros(0, np.int64) if self._rng is None else self._rng.state

    @state.setter
    def state(self, words: npt.NDArray[np.int64]) -> None:
        if self._rng is not None:
            self._rng.state = words

    def suits(self, words: npt.NDArray[np.int64]) -> bool:
        """Tell whether numbers can be its state."""
        return words.size == 0 if self._rng is None else is_state(words)

    def shape(self, picture: Sequence[int], at: At) -> tuple[int, int, int]:
        """Return the shape that a picture of (channels, height, width) is given.

        Raises
        ------
        DataError
            It is smaller than the crop, or the mean does not fit it.
        """
        channels, height, width = picture
        if min(height, width) < max(self.crop, 1) or channels < 1:
            raise at.error(
                f"it has {channels} channels of {height} x {width}",
                field="transform_param.crop_size",
                value=self.crop,
                hint="a crop must lie within the picture",
            )
        if self.mean is not None and self.mean.shape != (channels, height, width):
            told = f"it is {_told(picture)}, the mean {_told(self.mean.shape)}"
            raise at.error(told, field="transform_param.mean_file", value=self._param.mean_file, hint="they must agree")
        if len(self._values) not in (0, 1, channels):
            raise at.error(
                f"it has {channels} channels, and there are {len(self._values)} values",
                field="transform_param.mean_value",
                hint=f"1 or {channels}",
            )
        return (channels, self.crop, self.crop) if self.crop else (channels, height, width)

    def batch(
        self, count: int, picture: Callable[[int], Picture], at: Callable[[int], At], *, threads: bool
    ) -> npt.NDArray[np.float32]:
        """Return the next pictures transformed, in the shape of the first one: (count, channels, height, width).

        Parameters
        ----------
        picture, at : give a picture of the batch, and its place, by number.
        threads : several pictures at a time.

        Raises
        ------
        DataError
            A picture does not fit crop or mean, or becomes another shape than the first one.
        """
        draws = self.draws(count)
        first = picture(0)
        shape = self.shape(first.shape, at(0))
        data = np.empty((count, *shape), np.float32)

        def fill(row: int) -> None:
            found = picture(row) if row else first
            mine = self.shape(found.shape, at(row))
            if mine != shape:
                hint = "all of a batch must agree: new_height and new_width, or crop_size, make them"
                raise at(row).error(f"it becomes {_told(mine)}, the first of its batch {_told(shape)}", hint=hint)
            self.apply(found, draws[row], data[row])

        if threads:
            side_by_side(fill, range(count))
        else:
            for row in range(count):
                fill(row)
        return data

    def apply(self, picture: Picture, draws: Draws, out: npt.NDArray[np.float32]) -> None:
        """Put the transformed picture, whose `shape` is that of `out`, into `out`."""
        self._place(picture, draws, out)
        self._subtract_values_and_scale(out)

    def stack(self, pictures: Picture, at: At) -> npt.NDArray[np.float32]:
        """Return pictures of one shape (count, channels, height, width) transformed: what `batch` does, in fewer steps.

        Parameters
        ----------
        at : place of the first one.
        """
        draws = self.draws(len(pictures))
        data = np.empty((len(pictures), *self.shape(pictures.shape[1:], at)), np.float32)
        if self._columns or self.mean is not None:
            for picture, numbers, out in zip(pictures, draws, data, strict=True):
                self._place(picture, numbers, out)
        else:  # every picture is treated alike
            data[...] = pictures[:, *self._part(pictures.shape[1:], draws[0])]
        self._subtract_values_and_scale(data)
        return data

    def _part(self, picture: Sequence[int], draws: Draws) -> tuple[slice, slice, slice]:
        """Return where the crop lies in a picture."""
        if not self.crop:
            return slice(None), slice(None), slice(None)
        _, row, column = draws.tolist()
        high, wide = (extent - self.crop for extent in picture[1:])
        top, left = (row % (high + 1), column % (wide + 1)) if self._train else (high // 2, wide // 2)
        return slice(None), slice(top, top + self.crop), slice(left, left + self.crop)

    def _place(self, picture: Picture, draws: Draws, out: npt.NDArray[np.float32]) -> None:
        """Put the crop into `out`, less the mean picture, turned round where it is mirrored."""
        part = self._part(picture.shape, draws)
        target = out[:, :, ::-1] if draws[0] % 2 else out
        target[...] = picture[part]
        if self.mean is not None:
            target -= self.mean[part]

    def _subtract_values_and_scale(self, out: npt.NDArray[np.float32]) -> None:
        if self.mean is None and self._values.size:
            out -= self._values[:, None, None]
        if self._scale != 1:
            out *= self._scale


def read_mean(layer: pb.LayerParameter, base_dir: Path) -> npt.NDArray[np.float32] | None:
    """Return the picture (channels, height, width) in transform_param's mean_file; None where there is none.

    Raises
    ------
    DataError, FileError
        It cannot be found or read, or there are mean values as well.
    """
    param = layer.transform_param
    if not param.HasField("mean_file"):
        return None
    field = "transform_param.mean_file"
    if param.mean_value:
        problem = "there is a mean_value as well"
        raise DataError(problem, layer=layer.name, field=field, value=param.mean_file, hint="keep one of the two")
    path = find_input(param.mean_file, base_dir) if param.mean_file else None
    if path is None or not path.is_file():
        raise DataError("no such file", layer=layer.name, field=field, value=param.mean_file, hint=looked_in(base_dir))
    blob, store = read_binary(path, pb.BlobProto)
    values = np.asarray(store.data(blob), np.float32)
    if values.ndim > 4 or values.size == 0:
        raise DataError(f"holds a blob of {values.shape}, which is no picture", file=path, layer=layer.name)
    legacy = values.reshape(values.shape + (1,) * (4 - values.ndim))  # Caffe's channels(), height() and width()
    return np.ascontiguousarray(legacy[0])


def _told(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
