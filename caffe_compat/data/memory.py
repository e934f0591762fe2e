"""MemoryData: batches of arrays that the caller sets.

Facts from BVLC Caffe 9b89154, memory_data_layer.cpp and python/caffe/_caffe.cpp: the number of rows is a multiple of
batch_size; rows are taken in order, again and again; datums are transformed, arrays are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from caffe_compat.data.c_random import NO_NUMBERS, CRand, Mersenne
from caffe_compat.data.datum import datum_image, decode_flag
from caffe_compat.data.source import Cursor, Origin, RandomSource, positive, register
from caffe_compat.data.transform import DataTransformer
from caffe_compat.errors import DataError
from caffe_compat.schema import caffe_pb2 as pb


@register
class MemorySource(RandomSource):
    """Batches of a MemoryData layer."""

    type = "MemoryData"

    def __init__(self, layer: pb.LayerParameter, *, base_dir: Path, rng: CRand) -> None:
        param = layer.memory_data_param
        self.tops = tuple(layer.top)
        self._layer = layer.name
        self._batch = positive(layer, "memory_data_param.batch_size", param.batch_size)
        for name in ("channels", "height", "width"):
            positive(layer, f"memory_data_param.{name}", getattr(param, name))
        self._flag = decode_flag(layer)
        self._transform = DataTransformer(layer, base_dir=base_dir, rng=rng)
        self._row_shape = (param.channels, param.height, param.width)
        self.shapes = {self.tops[0]: (self._batch, *self._row_shape), self.tops[1]: (self._batch,)}
        self._data: npt.NDArray[np.float32] | None = None
        self._labels = np.zeros(0, np.float32)
        self._row = 0

    def set_arrays(self, data: npt.ArrayLike, labels: npt.ArrayLike, *, copy: bool = True) -> None:
        """Set the arrays of the next batches, from the first row on; they are not transformed.

        `data` is (N, channels, height, width), converted to float32, with N a multiple of batch_size; `labels` is (N,).
        With `copy` False, later writes to float32 arrays appear in later batches, as in Caffe.
        """
        values, numbers = np.asarray(data, np.float32), np.asarray(labels, np.float32).reshape(-1)
        if values.ndim != 4 or values.shape[1:] != self._row_shape:
            expected = ", ".join(map(str, self._row_shape))
            raise DataError(
                f"data have shape {values.shape}, expected (N, {expected})", code="shape-mismatch", layer=self._layer
            )
        self._check_rows(len(values), len(numbers))
        self._data, self._labels, self._row = (values.copy(), numbers.copy(), 0) if copy else (values, numbers, 0)

    def add_datums(self, datums: Sequence[pb.Datum]) -> None:
        """Set datums, transformed by transform_param, as the rows of the next batches; a multiple of batch_size."""
        self._check_rows(len(datums), len(datums))
        data = np.empty((len(datums), *self._row_shape), np.float32)
        for number, (datum, draws) in enumerate(zip(datums, self._transform.draws(len(datums)), strict=True)):
            origin = Origin(self._layer, what=f"datum {number}")
            image = datum_image(datum, self._flag, origin)
            shape = self._transform.shape(image.shape, origin)
            if shape != self._row_shape:
                problem = f"transformed shape {shape}, expected {self._row_shape}"
                raise origin.error(problem, code="shape-mismatch", field="memory_data_param")
            self._transform.apply(image, draws, data[number])
        self._data, self._row = data, 0
        self._labels = np.array([datum.label for datum in datums], np.float32)

    def _check_rows(self, rows: int, labels: int) -> None:
        if rows != labels:
            raise DataError(f"{rows} rows of data, {labels} labels", code="wrong-count", layer=self._layer)
        if rows == 0 or rows % self._batch:
            raise DataError(
                f"{rows} rows, expected a multiple of the batch size",
                code="wrong-count",
                layer=self._layer,
                field="memory_data_param.batch_size",
                value=self._batch,
            )

    def reset(self) -> None:
        """Start again from the first row of the arrays."""
        self._row = 0

    @property
    def _generators(self) -> dict[str, Mersenne | None]:
        return {"random": self._transform.rng}

    def _position(self) -> Cursor:
        """Return the row and the number of rows."""
        return {"place": np.array([self._row, len(self._labels)])}

    def _has_position(self, cursor: Cursor) -> bool:
        place, rows = cursor.get("place", NO_NUMBERS), len(self._labels)
        fits = len(place) == 2 and place[1] == rows and 0 <= place[0] < max(rows, 1) and place[0] % self._batch == 0
        return bool(fits)

    def _go_to(self, cursor: Cursor) -> None:
        self._row = int(cursor["place"][0])

    def next(self) -> dict[str, torch.Tensor]:
        """Return the next batch, a copy."""
        if self._data is None:
            hint = "call set_arrays(data, labels), or net.set_input_arrays(data, labels) in pycaffe"
            raise DataError("no data set", code="not-prepared", layer=self._layer, hint=hint)
        rows = np.s_[self._row : self._row + self._batch]
        self._row = (self._row + self._batch) % len(self._labels)
        batch = (self._data[rows], self._labels[rows])
        return {top: torch.from_numpy(values.copy()) for top, values in zip(self.tops, batch, strict=True)}
