"""Store the blobs of a net row by row: extract_features.

Facts from BVLC Caffe 9b89154, tools/extract_features.cpp: the net runs in phase TEST; each row of a blob becomes a
Datum of floats without a label; the key is the row number in ten digits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from os import PathLike
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
import torch

from caffe_compat.build.net import CaffeNet
from caffe_compat.data.database import BACKENDS, new_database
from caffe_compat.errors import DataError, NetError, did_you_mean
from caffe_compat.formats.files import new_hdf5
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.tools.feeds import Feed

FORMATS = (*BACKENDS, "hdf5")


Rows = npt.NDArray[np.float32]


def _put(put: Callable[[bytes, bytes], None], rows: Rows, first: int) -> None:
    """Append rows to a database that has `first` records."""
    if rows.ndim > 4:
        problem = f"the blob has {rows.ndim} axes, a Datum has at most 4"
        raise NetError(problem, code="unsupported", value=rows.shape, hint="use db_type hdf5")
    extents = (*rows.shape[1:], 1, 1, 1)[:3]
    for number, row in enumerate(rows, first):
        datum = pb.Datum(channels=extents[0], height=extents[1], width=extents[2])
        datum.float_data.extend(row.ravel().tolist())
        put(f"{number:010d}".encode(), datum.SerializeToString())


def _append(file: h5py.File, name: str, rows: Rows) -> None:
    """Append rows to a dataset."""
    if name not in file:
        file.create_dataset(name, data=rows, maxshape=(None, *rows.shape[1:]), chunks=True)
        return
    dataset = file[name]
    if dataset.shape[1:] != rows.shape[1:]:
        problem = f"rows have shape {rows.shape[1:]}, earlier batches have {dataset.shape[1:]}"
        raise NetError(problem, code="shape-mismatch", field=name)
    dataset.resize(len(dataset) + len(rows), axis=0)
    dataset[-len(rows) :] = rows


@contextmanager
def _new_store(path: str | PathLike[str], blob: str, fmt: str) -> Iterator[Callable[[Rows, int], None]]:
    """Yield a function that appends rows, given the number of those before."""
    if fmt != "hdf5":
        with new_database(path, fmt) as database:
            yield partial(_put, database.put)
        return
    if Path(path).exists():
        raise DataError("the file exists", code="duplicate", file=path, hint="remove it or choose another name")
    with new_hdf5(path) as writer:
        yield lambda rows, _: writer.do(lambda file: _append(file, blob, rows))


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
                store(rows, count[blob])
                previous, count[blob] = count[blob], count[blob] + len(rows)
                if previous // 1000 != count[blob] // 1000:
                    report(f"Extracted features of {count[blob]} query images for feature blob {blob}")
    for blob, stored in count.items():
        report(f"Extracted features of {stored} query images for feature blob {blob}")
    return count
