"""Databases of datums, made by a test."""

import lmdb
import numpy as np
import pytest

from caffe_compat.schema import caffe_pb2 as pb


def datum(picture, label=0):
    """A datum with the values of (channels, height, width): bytes, or float_data."""
    out = pb.Datum(channels=picture.shape[0], height=picture.shape[1], width=picture.shape[2], label=label)
    if picture.dtype == np.uint8:
        out.data = picture.tobytes()
    else:
        out.float_data.extend(picture.ravel().tolist())
    return out


def pictures(count, shape=(3, 6, 7), seed=0):
    return list(np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8))


def numbered(count, shape=(1, 2, 2)):
    """Datums whose label and values are their number."""
    return [datum(np.full(shape, i, np.uint8), i) for i in range(count)]


def _records(datums):
    """Keys and values: of datums or bytes the keys are 00000000, 00000001 ...; pairs are taken as they are."""
    for number, item in enumerate(datums):
        key, value = item if isinstance(item, tuple) else (b"%08d" % number, item)
        yield key, value if isinstance(value, bytes) else value.SerializeToString()


def write_lmdb(path, datums):
    with lmdb.open(str(path), map_size=1 << 26) as env, env.begin(write=True) as transaction:
        for key, value in _records(datums):
            transaction.put(key, value)


def write_leveldb(path, datums):
    plyvel = pytest.importorskip("plyvel")
    with plyvel.DB(str(path), create_if_missing=True) as db:
        for key, value in _records(datums):
            db.put(key, value)


def write_mean(path, values):
    """Write a mean picture (channels, height, width)."""
    blob = pb.BlobProto(num=1, channels=values.shape[0], height=values.shape[1], width=values.shape[2])
    blob.data.extend(values.astype("f4").ravel().tolist())
    path.write_bytes(blob.SerializeToString())
