"""ImageData: the pictures of a list, as Caffe 1.0 reads them.

Facts from BVLC Caffe 9b89154, image_data_layer.cpp and util/io.cpp: a line is a name, a space and a whole number, and
the name may hold spaces; root_folder is put before it as it is; with shuffle the list is shuffled at the start and
after every pass, each time from where it stands; rand_skip leaves out up to so many lines less one, of the first pass
only; the first picture of every batch decides its shape.

Names are looked up in the working directory (Caffe's rule), then beside the list.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from caffe_compat.data.c_random import Randomness
from caffe_compat.data.decode import COLOR, GRAY, Picture, channels_first, decode, read_file, resized
from caffe_compat.data.mt19937 import Mersenne, is_state, shuffled
from caffe_compat.data.origin import At, batch_size, check_tops, read_list
from caffe_compat.data.source import DataSource, register
from caffe_compat.data.transform import Transformer
from caffe_compat.errors import DataError
from caffe_compat.formats.image_size import too_many
from caffe_compat.schema import caffe_pb2 as pb

_LABEL = re.compile(r"[+-]?\d+")
_FIELD = "image_data_param"


@register
class ImageSource(DataSource):
    """Batches of an ImageData layer.

    Parameters
    ----------
    layer, base_dir, rng : see :func:`caffe_compat.data.open_source`.

    Notes
    -----
    A line without a label is refused; Caffe takes it as class 0, or whatever number its name begins with.
    """

    type = "ImageData"

    def __init__(self, layer: pb.LayerParameter, *, base_dir: Path, rng: Randomness) -> None:
        self._param = param = layer.image_data_param
        check_tops(layer, 2, 2)
        self.tops = tuple(layer.top)
        self.prefetch = int(layer.data_param.prefetch)  # Caffe looks there for this type as well
        self._layer = layer.name
        self._batch = batch_size(layer, _FIELD, param.batch_size)
        self._check_size()
        self._transform = Transformer(layer, base_dir=base_dir, rng=rng)
        self._path, lines = read_list(layer, _FIELD, param.source, base_dir)
        pairs = [self._parse(number, line) for number, line in enumerate(lines, 1)]
        self.names = [name for name, _ in pairs]
        self._labels = np.array([label for _, label in pairs], np.float32)
        self._order = np.arange(len(lines))
        self._rng = Mersenne(rng.draw()) if param.shuffle else None
        if self._rng is not None:
            self._order = shuffled(self._order, self._rng)
        self._row = rng.draw() % param.rand_skip if param.rand_skip else 0
        if self._row >= len(lines):
            told = f"skips {self._row} lines of {len(lines)}"
            raise DataError(told, layer=layer.name, field=f"{_FIELD}.rand_skip", value=param.rand_skip)
        line = int(self._order[self._row])
        shape = self._transform.shape(self._picture(line).shape, self._at(line))
        self.shapes = {self.tops[0]: (self._batch, *shape), self.tops[1]: (self._batch,)}
        self._transform.seed(rng)
        rng.draw()  # Caffe's thread is given a seed that it does not use

    def _check_size(self) -> None:
        high, wide = self._param.new_height, self._param.new_width
        if bool(high) != bool(wide):
            field, value = ("new_height", high) if high else ("new_width", wide)
            hint = "set new_height and new_width together"
            raise DataError("is set alone", layer=self._layer, field=f"{_FIELD}.{field}", value=value, hint=hint)
        if problem := too_many(wide, high):
            raise DataError(problem, layer=self._layer, field=f"{_FIELD}.new_height", value=high)

    def _parse(self, number: int, line: str) -> tuple[str, int]:
        name, space, label = line.rstrip().rpartition(" ")
        if not space or not _LABEL.fullmatch(label):
            hint = "a line is the name of a picture, a space and the number of its class"
            raise DataError(
                "this line has no label", file=self._path, line=number, layer=self._layer, value=line, hint=hint
            )
        return name, int(label)

    def reset(self) -> None:
        """Start again from the first line; the shuffle goes on with its random numbers."""
        self._row = 0
        self._order = np.arange(len(self.names))
        if self._rng is not None:
            self._order = shuffled(self._order, self._rng)

    def cursor(self) -> dict[str, npt.NDArray[np.int64]]:
        """Return line and number of lines, their order where it is shuffled, and the states of the random numbers."""
        none = np.zeros(0, np.int64)
        order, state = (none, none) if self._rng is None else (self._order, self._rng.state)
        place = np.array([self._row, len(self.names)])
        return {"place": place, "order": order, "shuffle": state, "random": self._transform.state}

    def fits(self, cursor: Mapping[str, npt.NDArray[np.int64]]) -> bool:
        """Tell whether the list is as long, and shuffled alike."""
        none = np.zeros(0, np.int64)
        place, order, state, random = (cursor.get(name, none) for name in ("place", "order", "shuffle", "random"))
        count = len(self.names)
        if len(place) != 2 or place[1] != count or not 0 <= place[0] < count or not self._transform.suits(random):
            return False
        if self._rng is None:
            return bool(order.size == state.size == 0)
        return is_state(state) and np.array_equal(np.sort(order), np.arange(count))

    def seek(self, cursor: Mapping[str, npt.NDArray[np.int64]]) -> None:
        """Go to a line."""
        self._row = int(cursor["place"][0])
        self._transform.state = cursor["random"]
        if self._rng is not None:
            self._order, self._rng.state = cursor["order"], cursor["shuffle"]

    def next(self) -> dict[str, torch.Tensor]:
        """Return the next batch, in the shape of its first picture; all of its pictures must have that shape."""
        lines = [self._take() for _ in range(self._batch)]
        data = self._transform.batch(
            self._batch, lambda row: self._picture(lines[row]), lambda row: self._at(lines[row]), threads=True
        )
        return {self.tops[0]: torch.from_numpy(data), self.tops[1]: torch.from_numpy(self._labels[lines])}

    def _take(self) -> int:
        line = int(self._order[self._row])
        self._row += 1
        if self._row == len(self.names):
            self._row = 0
            if self._rng is not None:
                self._order = shuffled(self._order, self._rng)
        return line

    def _at(self, line: int) -> At:
        return At(self._layer, self._path, line + 1, f"picture {self._param.root_folder + self.names[line]!r}")

    def _picture(self, line: int) -> Picture:
        at, root = self._at(line), self._param.root_folder
        hint = None if not root or root.endswith("/") else "root_folder is put before the name as it is: end it with /"
        content = read_file(root + self.names[line], self._path.parent, at, hint)
        picture = decode(content, COLOR if self._param.is_color else GRAY, at)
        if self._param.new_height:
            picture = resized(picture, self._param.new_width, self._param.new_height)
        return channels_first(picture)
