"""ImageData: batches of the images in a list, as Caffe 1.0 reads them.

Facts from BVLC Caffe 9b89154, image_data_layer.cpp and util/io.cpp: a line is a name, which may contain spaces, a space
and an integer; root_folder is prepended unchanged; with shuffle the current order is shuffled at the start and after
each pass; rand_skip skips fewer lines than its value, in the first pass only; the first image of a batch sets its
shape.

Names are looked up in the working directory (Caffe's rule), then next to the list.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch

from caffe_compat.data.c_random import CRand, Mersenne
from caffe_compat.data.decode import COLOR, GRAY, Image, channels_first, decode, read_file, resize
from caffe_compat.data.list_order import ListOrder, ListSource
from caffe_compat.data.source import Origin, positive, read_list, register
from caffe_compat.data.transform import DataTransformer
from caffe_compat.errors import DataError
from caffe_compat.formats.image_size import size_problem
from caffe_compat.schema import caffe_pb2 as pb

_LABEL = re.compile(r"[+-]?\d+")
_FIELD = "image_data_param"


@register
class ImageSource(ListSource):
    """Batches of an ImageData layer.

    A line without a label is refused; Caffe reads class 0, or the number that its name begins with.
    """

    type = "ImageData"

    def __init__(self, layer: pb.LayerParameter, *, base_dir: Path, rng: CRand) -> None:
        self._param = param = layer.image_data_param
        self.tops = tuple(layer.top)
        self.prefetch = int(layer.data_param.prefetch)  # Caffe reads it from there for this type too
        self._layer = layer.name
        self._batch = positive(layer, f"{_FIELD}.batch_size", param.batch_size)
        self._check_size()
        self._transform = DataTransformer(layer, base_dir=base_dir, rng=rng)
        self._path, lines = read_list(layer, _FIELD, param.source, base_dir)
        pairs = [self._parse(number, line) for number, line in enumerate(lines, 1)]
        self.names = [name for name, _ in pairs]
        self._labels = np.array([label for _, label in pairs], np.float32)
        self._lines = ListOrder(
            len(lines), shuffle=param.shuffle, rand_skip=param.rand_skip, rng=rng, layer=layer.name, field=_FIELD
        )
        line = self._lines.next_line
        shape = self._transform.shape(self._image(line).shape, self._origin(line))
        self.shapes = {self.tops[0]: (self._batch, *shape), self.tops[1]: (self._batch,)}
        self._transform.seed(rng)
        rng.draw()  # Caffe's thread gets a seed that it does not use

    def _check_size(self) -> None:
        high, wide = self._param.new_height, self._param.new_width
        if bool(high) != bool(wide):
            field, value = ("new_height", high) if high else ("new_width", wide)
            hint = "set both new_height and new_width"
            raise DataError(
                "set without the other side", code="field-missing", layer=self._layer, field=f"{_FIELD}.{field}",
                value=value, hint=hint,
            )  # fmt: skip
        if problem := size_problem(wide, high):
            raise DataError(problem, code="too-large", layer=self._layer, field=f"{_FIELD}.new_height", value=high)

    def _parse(self, number: int, line: str) -> tuple[str, int]:
        name, space, label = line.rstrip().rpartition(" ")
        if not space or not _LABEL.fullmatch(label):
            raise DataError(
                "no label in this line", code="syntax", file=self._path, line=number, layer=self._layer, value=line,
                hint="expected the name of an image, a space and the number of its class",
            )  # fmt: skip
        return name, int(label)

    @property
    def _generators(self) -> dict[str, Mersenne | None]:
        return {"random": self._transform.rng}

    def next(self) -> dict[str, torch.Tensor]:
        """Return the next batch; all of its images must have the shape of the first."""
        lines = [self._lines.take() for _ in range(self._batch)]
        data = self._transform.batch(
            self._batch, lambda row: self._image(lines[row]), lambda row: self._origin(lines[row]), threads=True
        )
        return {self.tops[0]: torch.from_numpy(data), self.tops[1]: torch.from_numpy(self._labels[lines])}

    def _origin(self, line: int) -> Origin:
        return Origin(self._layer, self._path, line + 1, f"image {self._param.root_folder + self.names[line]!r}")

    def _image(self, line: int) -> Image:
        origin, root = self._origin(line), self._param.root_folder
        hint = (
            None if not root or root.endswith("/") else "end root_folder with /: it is prepended to the name unchanged"
        )
        content = read_file(root + self.names[line], self._path.parent, origin, hint)
        image = decode(content, COLOR if self._param.is_color else GRAY, origin)
        if self._param.new_height:
            image = resize(image, self._param.new_width, self._param.new_height)
        return channels_first(image)
