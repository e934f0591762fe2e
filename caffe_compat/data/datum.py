"""Data: batches of Datum records from LMDB or LevelDB, as Caffe 1.0 reads them.

Facts from BVLC Caffe 9b89154, data_layer.cpp and data_transformer.cpp: the first record of each batch sets its
shape; `data` takes precedence over `float_data`; encoded images are decoded as stored unless force_color or force_gray
is set, which other records ignore; rand_skip is no longer read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from google.protobuf.message import DecodeError

from caffe_compat.data.c_random import RandomStreams
from caffe_compat.data.database import open_database
from caffe_compat.data.decode import AS_STORED, COLOR, GRAY, Image, channels_first, decode
from caffe_compat.data.origin import Origin, find_source, positive
from caffe_compat.data.source import DataSource, register
from caffe_compat.data.transform import DataTransformer
from caffe_compat.errors import DataError
from caffe_compat.schema import caffe_pb2 as pb


def decode_flag(layer: pb.LayerParameter) -> int:
    """Return how to decode encoded images: COLOR, GRAY or AS_STORED."""
    param = layer.transform_param
    if param.force_color and param.force_gray:
        raise DataError(
            "force_gray is set too", code="conflict", layer=layer.name, field="transform_param.force_color", value=True
        )
    return COLOR if param.force_color else GRAY if param.force_gray else AS_STORED


def datum_image(datum: pb.Datum, flag: int, origin: Origin) -> Image:
    """Return the image in a datum: (channels, height, width)."""
    if datum.encoded:
        return channels_first(decode(datum.data, flag, origin))
    shape = (datum.channels, datum.height, datum.width)
    if min(shape) < 1:
        raise origin.error(f"shape {shape}; channels, height and width must be positive", code="out-of-range")
    count = len(datum.data) or len(datum.float_data)
    if count != math.prod(shape):
        coded = datum.data[:2] in (b"\xff\xd8", b"\x89P", b"BM")
        hint = "set `encoded: true` for an encoded image" if coded else None
        raise origin.error(
            f"{count} values for shape {shape}, expected {math.prod(shape)}", code="wrong-count", hint=hint
        )
    if datum.data:
        return np.frombuffer(datum.data, np.uint8).reshape(shape)
    return np.array(datum.float_data, np.float32).reshape(shape)


@register
class DatumSource(DataSource):
    """Batches of a Data layer.

    Parameters
    ----------
    layer, base_dir, rng : see :func:`caffe_compat.data.open_source`.
    """

    type = "Data"

    def __init__(self, layer: pb.LayerParameter, *, base_dir: Path, rng: RandomStreams) -> None:
        param = layer.data_param
        self.tops = tuple(layer.top)
        self.prefetch = int(param.prefetch)
        self._layer = layer.name
        self._batch = positive(layer, "data_param.batch_size", param.batch_size)
        self._flag = decode_flag(layer)
        self._path = find_source(layer, "data_param", param.source, base_dir, "database")
        self._transform = DataTransformer(layer, base_dir=base_dir, rng=rng)
        backend = pb.DataParameter.DB.Name(param.backend)
        self._records = open_database(self._path, backend, Origin(layer.name, self._path))
        origin, datum = self._take()
        shape = self._transform.shape(datum_image(datum, self._flag, origin).shape, origin)
        self._records.first()
        self.shapes = dict(zip(self.tops, ((self._batch, *shape), (self._batch,)), strict=False))
        self._transform.seed(rng)
        rng.draw()  # Caffe's thread gets a seed that it does not use

    def close(self) -> None:
        """Close the database."""
        self._records.close()

    def reset(self) -> None:
        """Start again from the first record; the random numbers go on."""
        self._records.first()

    def cursor(self) -> dict[str, npt.NDArray[np.int64]]:
        """Return the key of the next record, the number of records, and the state of the random numbers."""
        key = np.frombuffer(self._records.key(), np.uint8).astype(np.int64)
        return {"entries": np.array([self._records.entries]), "key": key, "random": self._transform.state}

    def fits(self, cursor: Mapping[str, npt.NDArray[np.int64]]) -> bool:
        """Return whether the database has as many records and this key."""
        entries, key, random = (cursor.get(name, np.zeros(0, np.int64)) for name in ("entries", "key", "random"))
        if entries.tolist() != [self._records.entries] or not self._transform.suits(random):
            return False
        current = self._records.key()
        present = self._records.find(_key(key))
        self._records.find(current)
        return present

    def seek(self, cursor: Mapping[str, npt.NDArray[np.int64]]) -> None:
        """Go to a record."""
        self._records.find(_key(cursor["key"]))
        self._transform.state = cursor["random"]

    def next(self) -> dict[str, torch.Tensor]:
        """Return the next batch; all of its records must have the shape of the first."""
        taken = [self._take() for _ in range(self._batch)]
        images = _stack([datum for _, datum in taken])
        if images is not None:
            data = self._transform.stack(images, taken[0][0])
        else:
            data = self._transform.batch(
                self._batch,
                lambda row: datum_image(taken[row][1], self._flag, taken[row][0]),
                lambda row: taken[row][0],
                threads=any(datum.encoded for _, datum in taken),
            )
        labels = np.array([datum.label for _, datum in taken], np.float32)
        return dict(zip(self.tops, (torch.from_numpy(data), torch.from_numpy(labels)), strict=False))

    def _take(self) -> tuple[Origin, pb.Datum]:
        key, value = self._records.take()
        origin = Origin(self._layer, self._path, what=f"record {key.decode('utf-8', 'backslashreplace')!r}")
        try:
            return origin, pb.Datum.FromString(value)
        except DecodeError:
            raise origin.error(
                f"{len(value)} bytes that are not a Datum", code="damaged-file", hint="write the database again"
            ) from None


def _stack(datums: Sequence[pb.Datum]) -> Image | None:
    """Stack datums of bytes of the same shape, the usual case: (count, channels, height, width); else return None."""
    first = datums[0]
    shape = (first.channels, first.height, first.width)
    size = math.prod(shape)
    if min(shape) < 1 or not all(
        len(datum.data) == size and (datum.channels, datum.height, datum.width) == shape and not datum.encoded
        for datum in datums
    ):
        return None
    return np.frombuffer(b"".join(datum.data for datum in datums), np.uint8).reshape(-1, *shape)


def _key(numbers: npt.NDArray[np.int64]) -> bytes:
    return bytes(number & 255 for number in numbers.tolist())
