"""Blobs of a net on its data, stored row by row: extract_features.

Facts from BVLC Caffe 9b89154, tools/extract_features.cpp: the net runs in TEST; every row of a blob becomes a Datum of
floats, without a label; keys are the row's number in ten digits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from os import PathLike
from pathlib import Path
from typing import Protocol

import h5py
import numpy as np
import numpy.typing as npt
import torch

from caffe_compat.build.net import CaffeNet
from caffe_compat.data.write_db import BACKENDS, new_database
from caffe_compat.errors import DataError, NetError, did_you_mean
from caffe_compat.formats.files import HDF5Writer, new_hdf5
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.tools.feeds import Feed

FORMATS = (*BACKENDS, "hdf5")


class Rows(Protocol):
    """Where rows go."""

    def add(self, rows: npt.NDArray[np.float32]) -> None:
        """Append the rows of a batch."""
        ...


class _Database:
    def __init__(self, put: Callable[[bytes, bytes], None]) -> None:
        self._put = put
        self._count = 0

    def add(self, rows: npt.NDArray[np.float32]) -> None:
        if rows.ndim > 4:
            raise NetError(f"a Datum has no room for the shape {rows.shape}", hint="db_type hdf5 takes any")
        extents = (*rows.shape[1:], 1, 1, 1)[:3]
        for row in rows:
            datum = pb.Datum(channels=extents[0], height=extents[1], width=extents[2])
            datum.float_data.extend(row.ravel().tolist())
            self._put(f"{self._count:010d}".encode(), datum.SerializeToString())
            self._count += 1


class _Hdf5:
    def __init__(self, writer: HDF5Writer, name: str) -> None:
        self._writer, self._name = writer, name

    def add(self, rows: npt.NDArray[np.float32]) -> None:
        self._writer.do(lambda file: self._append(file, rows))

    def _append(self, file: h5py.File, rows: npt.NDArray[np.float32]) -> None:
        if self._name not in file:
            file.create_dataset(self._name, data=rows, maxshape=(None, *rows.shape[1:]), chunks=True)
            return
        dataset = file[self._name]
        if dataset.shape[1:] != rows.shape[1:]:
            raise NetError(f"its shape changed from {dataset.shape[1:]} to {rows.shape[1:]}", field=self._name)
        dataset.resize(len(dataset) + len(rows), axis=0)
        dataset[-len(rows) :] = rows


@contextmanager
def _new(path: str | PathLike[str], blob: str, fmt: str) -> Iterator[Rows]:
    if fmt != "hdf5":
        with new_database(path, fmt) as database:
            yield _Database(database.put)
        return
    if Path(path).exists():
        raise DataError("exists already", file=path, hint="another name, or remove it")
    with new_hdf5(path) as writer:
        yield _Hdf5(writer, blob)


def extract_features(
    net: CaffeNet,
    feed: Feed,
    targets: Sequence[tuple[str, str | PathLike[str]]],
    batches: int,
    *,
    fmt: str = "lmdb",
    device: torch.device | str = "cpu",
    told: Callable[[str], None] = lambda _line: None,
) -> dict[str, int]:
    """Run a net on its data and store blobs.

    Parameters
    ----------
    net : built from ``feed.graph`` for TEST, its weights loaded.
    feed : see :func:`caffe_compat.tools.feeds.feed`; every input must be read, none made up.
    targets : (blob, file or database to make) pairs.
    batches : how many to run.
    fmt : "lmdb", "leveldb" or "hdf5" (a dataset under the blob's name, rows first).
    told : called with a line for the log.

    Returns
    -------
    Rows stored, by blob.

    Raises
    ------
    NetError, DataError
        There is no such blob, a target exists, or something is not fed.
    """
    for blob, _ in targets:
        if blob not in net.caffe.shapes:
            raise NetError("no such blob in the net", value=blob, hint=did_you_mean(blob, net.caffe.shapes))
        if not net.caffe.shapes[blob]:
            raise NetError("has no rows: it is a single value", value=blob)
    if feed.made_up:
        blob = next(iter(feed.made_up))
        raise DataError("nothing feeds this input", value=blob, hint="the net needs a data layer")
    if fmt not in FORMATS:
        raise DataError("no such format", field="db_type", value=fmt, hint=", ".join(FORMATS))
    count = dict.fromkeys((blob for blob, _ in targets), 0)
    told("Extracting Features")
    with ExitStack() as stack, torch.no_grad():
        stores = [(blob, stack.enter_context(_new(path, blob, fmt))) for blob, path in targets]
        for _ in range(batches):
            batch = {blob: value.to(device) for blob, value in feed.next().items()}
            values = net.every_blob(batch)
            for blob, store in stores:
                rows = values[blob].cpu().numpy()
                store.add(rows)
                before, count[blob] = count[blob], count[blob] + len(rows)
                if before // 1000 != count[blob] // 1000:
                    told(f"Extracted features of {count[blob]} query images for feature blob {blob}")
    for blob, stored in count.items():
        told(f"Extracted features of {stored} query images for feature blob {blob}")
    return count
