"""Store the blobs of a net row by row: extract_features.

Facts from BVLC Caffe 9b89154, tools/extract_features.cpp: the net runs in phase TEST; each row of a blob becomes a
Datum of floats without a label; the key is the row number in ten digits.
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
from caffe_compat.data.database import BACKENDS, new_database
from caffe_compat.errors import DataError, NetError, did_you_mean
from caffe_compat.formats.files import HDF5Writer, new_hdf5
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.tools.feeds import Feed

FORMATS = (*BACKENDS, "hdf5")


class Rows(Protocol):
    """A store of rows."""

    def add(self, rows: npt.NDArray[np.float32]) -> None:
        """Append the rows of a batch."""
        ...


class _Database:
    def __init__(self, put: Callable[[bytes, bytes], None]) -> None:
        self._put = put
        self._count = 0

    def add(self, rows: npt.NDArray[np.float32]) -> None:
        if rows.ndim > 4:
            problem = f"blob has {rows.ndim} axes, a Datum holds at most 4"
            raise NetError(problem, code="unsupported", value=rows.shape, hint="use db_type hdf5")
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
            problem = f"rows have shape {rows.shape[1:]}, earlier batches have {dataset.shape[1:]}"
            raise NetError(problem, code="shape-mismatch", field=self._name)
        dataset.resize(len(dataset) + len(rows), axis=0)
        dataset[-len(rows) :] = rows


@contextmanager
def _new_store(path: str | PathLike[str], blob: str, fmt: str) -> Iterator[Rows]:
    if fmt != "hdf5":
        with new_database(path, fmt) as database:
            yield _Database(database.put)
        return
    if Path(path).exists():
        raise DataError("file exists", code="duplicate", file=path, hint="remove it or choose another name")
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
    report: Callable[[str], None] = lambda _line: None,
) -> dict[str, int]:
    """Run a net on its data and store blobs; return the number of rows of each.

    `targets` are (blob, file or database to create) pairs, `fmt` is "lmdb", "leveldb" or "hdf5" (a dataset under the
    blob's name).
    """
    for blob, _ in targets:
        if blob not in net.caffe.shapes:
            hint = did_you_mean(blob, net.caffe.shapes)
            raise NetError("the net has no such blob", code="name-unknown", field="BLOB", value=blob, hint=hint)
        if not net.caffe.shapes[blob]:
            raise NetError("blob is a scalar and has no rows", code="unsupported", field="BLOB", value=blob)
    if feed.made_up:
        blob = next(iter(feed.made_up))
        raise DataError("input has no data", code="field-missing", field="input", value=blob, hint="add a data layer")
    if fmt not in FORMATS:
        hint = f"use one of {', '.join(FORMATS)}"
        raise DataError("unknown format", code="name-unknown", field="db_type", value=fmt, hint=hint)
    count = dict.fromkeys((blob for blob, _ in targets), 0)
    report("Extracting Features")
    with ExitStack() as stack, torch.no_grad():
        stores = [(blob, stack.enter_context(_new_store(path, blob, fmt))) for blob, path in targets]
        for _ in range(batches):
            batch = {blob: value.to(device) for blob, value in feed.next().items()}
            values = net.every_blob(batch)
            for blob, store in stores:
                rows = values[blob].cpu().numpy()
                store.add(rows)
                previous, count[blob] = count[blob], count[blob] + len(rows)
                if previous // 1000 != count[blob] // 1000:
                    report(f"Extracted features of {count[blob]} query images for feature blob {blob}")
    for blob, stored in count.items():
        report(f"Extracted features of {stored} query images for feature blob {blob}")
    return count
