"""Data: the records of an LMDB or LevelDB, each a Datum, as Caffe 1.0 reads them.

Facts from BVLC Caffe 9b89154, data_layer.cpp and data_transformer.cpp: the first record of every batch decides its
shape; a record's `data` counts before its `float_data`; coded pictures are decoded as they are stored unless
force_color or force_gray says otherwise, which other records do not heed; rand_skip is read no more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from google.protobuf.message import DecodeError

from caffe_compat.data.c_random import Randomness
from caffe_compat.data.database import open_database
from caffe_compat.data.decode import AS_STORED, COLOR, GRAY, Picture, channels_first, decode
from caffe_compat.data.origin import At, batch_size, check_tops, find_source
from caffe_compat.data.source import DataSource, register
from caffe_compat.data.transform import Transformer
from caffe_compat.errors import DataError
from caffe_compat.schema import caffe_pb2 as pb


def decode_flag(layer: pb.LayerParameter) -> int:
    """Return how coded pictures are decoded.

    Raises
    ------
    DataError
        Both colour and gray are forced.
    """
    param = layer.transform_param
    if param.force_color and param.force_gray:
        raise DataError("force_gray is set as well", layer=layer.name, field="transform_param.force_color", value=True)
    return COLOR if param.force_color else GRAY if param.force_gray else AS_STORED


def picture_of(datum: pb.Datum, flag: int, at: At) -> Picture:
    """Return the picture in a datum: (channels, height, width).

    Raises
    ------
    DataError
        It cannot be decoded, or has another number of values than its extents tell.
    """
    if datum.encoded:
        return channels_first(decode(datum.data, flag, at))
    shape = (datum.channels, datum.height, datum.width)
    told = f"{shape[0]} x {shape[1]} x {shape[2]}"
    if min(shape) < 1:
        raise at.error(f"it says that it is {told}", hint="channels, height and width must be positive")
    count = len(datum.data) or len(datum.float_data)
    if count != math.prod(shape):
        coded = datum.data[:2] in (b"\xff\xd8", b"\x89P", b"BM")
        hint = "a coded picture without `encoded: true`" if coded else None
        raise at.error(f"it holds {count} values where {told} are {math.prod(shape)}", hint=hint)
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

    def __init__(self, layer: pb.LayerParameter, *, base_dir: Path, rng: Randomness) -> None:
        param = layer.data_param
        check_tops(layer, 1, 2)
        self.tops = tuple(layer.top)
        self.prefetch = int(param.prefetch)
        self._layer = layer.name
        self._batch = batch_size(layer, "data_param", param.batch_size)
        self._flag = decode_flag(layer)
        self._path = find_source(layer, "data_param", param.source, base_dir, "database")
        self._transform = Transformer(layer, base_dir=base_dir, rng=rng)
        backend = pb.DataParameter.DB.Name(param.backend)
        self._records = open_database(self._path, backend, At(layer.name, self._path))
        at, datum = self._take()
        shape = self._transform.shape(picture_of(datum, self._flag, at).shape, at)
        self._records.first()
        self.shapes = dict(zip(self.tops, ((self._batch, *shape), (self._batch,)), strict=False))
        self._transform.seed(rng)
        rng.draw()  # Caffe's thread is given a seed that it does not use

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
        """Tell whether there are as many records, and one of that key."""
        entries, key, random = (cursor.get(name, np.zeros(0, np.int64)) for name in ("entries", "key", "random"))
        if entries.tolist() != [self._records.entries] or not self._transform.suits(random):
            return False
        before = self._records.key()
        found = self._records.find(_key(key))
        self._records.find(before)
        return found

    def seek(self, cursor: Mapping[str, npt.NDArray[np.int64]]) -> None:
        """Go to a record."""
        self._records.find(_key(cursor["key"]))
        self._transform.state = cursor["random"]

    def next(self) -> dict[str, torch.Tensor]:
        """Return the next batch, in the shape of its first record; all of its records must have that shape."""
        taken = [self._take() for _ in range(self._batch)]
        alike = _stacked([datum for _, datum in taken])
        if alike is not None:
            data = self._transform.stack(alike, taken[0][0])
        else:
            data = self._transform.batch(
                self._batch,
                lambda row: picture_of(taken[row][1], self._flag, taken[row][0]),
                lambda row: taken[row][0],
                threads=any(datum.encoded for _, datum in taken),
            )
        labels = np.array([datum.label for _, datum in taken], np.float32)
        return dict(zip(self.tops, (torch.from_numpy(data), torch.from_numpy(labels)), strict=False))

    def _take(self) -> tuple[At, pb.Datum]:
        key, value = self._records.take()
        at = At(self._layer, self._path, what=f"record {key.decode('utf-8', 'backslashreplace')!r}")
        try:
            return at, pb.Datum.FromString(value)
        except DecodeError:
            raise at.error(f"its {len(value)} bytes are no Datum", hint="write the database again") from None


def _stacked(datums: Sequence[pb.Datum]) -> Picture | None:
    """Return (count, channels, height, width) where all are bytes of one shape, as most databases are; else None."""
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
