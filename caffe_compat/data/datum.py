"""Data: batches of Datum records from LMDB or LevelDB, as Caffe 1.0 reads them.

Facts from BVLC Caffe 9b89154, data_layer.cpp and data_transformer.cpp: the first record of each batch sets its
shape; `data` takes precedence over `float_data`; encoded images are decoded as stored unless force_color or force_gray
is set, which other records ignore; rand_skip is no longer read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from google.protobuf.message import DecodeError, Message

from caffe_compat.data.c_random import NO_NUMBERS, CRand, Mersenne
from caffe_compat.data.database import open_database
from caffe_compat.data.decode import AS_STORED, COLOR, GRAY, Image, channels_first, decode
from caffe_compat.data.source import Cursor, Origin, RandomSource, find_source, positive, register
from caffe_compat.data.transform import DataTransformer
from caffe_compat.errors import DataError
from caffe_compat.schema import caffe_pb2 as pb

_Record = TypeVar("_Record", bound=Message)


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


class RecordSource(RandomSource):
    """A source that takes the records of a database in the order of their keys."""

    def _open(self, layer: pb.LayerParameter, base_dir: Path) -> None:
        """Read the fields that layers of databases share, and open the database."""
        param = layer.data_param
        self.tops = tuple(layer.top)
        self.prefetch = int(param.prefetch)
        self._layer = layer.name
        self._batch = positive(layer, "data_param.batch_size", param.batch_size)
        self._flag = decode_flag(layer)
        self._path = find_source(layer, "data_param.source", param.source, base_dir, "database")
        backend = pb.DataParameter.DB.Name(param.backend)
        self._records = open_database(self._path, backend, Origin(layer.name, self._path))

    def _take(self, kind: type[_Record]) -> tuple[Origin, _Record]:
        """Return the next record and its origin."""
        key, value = self._records.take()
        origin = Origin(self._layer, self._path, what=f"record {key.decode('utf-8', 'backslashreplace')!r}")
        try:
            return origin, kind.FromString(value)
        except DecodeError:
            problem = f"{len(value)} bytes that do not form the message {kind.DESCRIPTOR.name}"
            raise origin.error(problem, code="damaged-file", hint="write the database again") from None

    def close(self) -> None:
        """Close the database."""
        self._records.close()

    def reset(self) -> None:
        """Start again from the first record; the random numbers continue."""
        self._records.first()

    def _position(self) -> Cursor:
        """Return the key of the next record and the number of records."""
        key = np.frombuffer(self._records.key(), np.uint8).astype(np.int64)
        return {"entries": np.array([self._records.entries]), "key": key}

    def _has_position(self, cursor: Cursor) -> bool:
        entries, key = (cursor.get(name, NO_NUMBERS) for name in ("entries", "key"))
        if entries.tolist() != [self._records.entries]:
            return False
        current = self._records.key()
        present = self._records.find(_key(key))
        self._records.find(current)
        return present

    def _go_to(self, cursor: Cursor) -> None:
        self._records.find(_key(cursor["key"]))


@register
class DatumSource(RecordSource):
    """Batches of a Data layer."""

    type = "Data"

    def __init__(self, layer: pb.LayerParameter, *, base_dir: Path, rng: CRand) -> None:
        self._transform = DataTransformer(layer, base_dir=base_dir, rng=rng)
        self._open(layer, base_dir)
        origin, datum = self._take(pb.Datum)
        shape = self._transform.shape(datum_image(datum, self._flag, origin).shape, origin)
        self._records.first()
        self.shapes = dict(zip(self.tops, ((self._batch, *shape), (self._batch,)), strict=False))
        self._transform.seed(rng)
        rng.draw()  # Caffe's thread gets a seed that it does not use

    @property
    def _generators(self) -> dict[str, Mersenne | None]:
        return {"random": self._transform.rng}

    def next(self) -> dict[str, torch.Tensor]:
        """Return the next batch; all of its records must have the shape of the first."""
        taken = [self._take(pb.Datum) for _ in range(self._batch)]
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
