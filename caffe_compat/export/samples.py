"""Inputs to calibrate with, one at a time: a folder of images, or a file of arrays."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from caffe_compat.build.net import CaffeNet
from caffe_compat.build.preprocess import Preprocessing
from caffe_compat.data.decode import COLOR, decode
from caffe_compat.data.source import Origin
from caffe_compat.errors import DataError, FileError, NetError
from caffe_compat.export.portable import labels_of, preprocessing_of_net
from caffe_compat.formats.files import read_bytes
from caffe_compat.formats.hdf5_reader import find, missing_values, open_hdf5
from caffe_compat.formats.regular_file import require_regular

Array = npt.NDArray[Any]
_HDF5 = (".h5", ".hdf5", ".hdf")


@dataclass(frozen=True)
class Samples:
    """Inputs of a net: their source, and the file of each."""

    source: Path
    files: Sequence[Path]
    read: Callable[[int], Mapping[str, Array]]
    """Number of a sample -> blob -> array of float32 whose first axis is 1."""
    truth: Array | None = None
    """The class or the value of each, where it is known."""


def open_samples(net: CaffeNet, source: Path, *, with_preprocessing: bool = False) -> Samples:
    """Return the samples in a folder of images, which are prepared by the net's preprocessing, or in a file.

    A file, ``.npy`` or HDF5 with a dataset for each input, has what the model takes. Where every image is in a
    folder named like a label, that is its class; HDF5 may have the classes or values in a dataset ``label``. If the
    model begins with the preprocessing, images are only resized and turned gray.
    """
    require_regular(source)
    if source.is_dir():
        return _images(net, source, with_preprocessing=with_preprocessing)
    if not source.exists():
        raise FileError("no such folder or file", code="file-missing", file=source)
    if source.suffix != ".npy" and source.suffix not in _HDF5:
        hint = "pass a folder of images, or inputs of the net in .npy or .h5"
        raise FileError("expected a folder", code="wrong-format", file=source, hint=hint)
    with _reading(source):
        if source.suffix == ".npy":
            arrays, truth = {_only(net.inputs, source): np.load(source, mmap_mode="r", allow_pickle=False)}, None
        else:
            with open_hdf5(source) as file:
                arrays = {blob: _dataset(file, blob, source) for blob in net.inputs}
                truth = _dataset(file, "label", source).ravel() if "label" in file else None
    counts = {len(array) if array.ndim else 0 for array in arrays.values()}
    if len(counts) > 1 or counts == {0}:
        problem = "the inputs differ in their numbers of rows" if len(counts) > 1 else "has no rows"
        raise DataError(problem, code="wrong-count" if len(counts) > 1 else "empty", file=source)
    (count,) = counts
    truth = truth if truth is not None and len(truth) == count else None
    return Samples(source, [source] * count, partial(_row, arrays), truth)


def _images(net: CaffeNet, folder: Path, *, with_preprocessing: bool) -> Samples:
    prepare, labels = preprocessing_of_net(net, "calibrate"), labels_of(net)
    _only(net.inputs, folder)
    if with_preprocessing:
        order = "GRAY" if prepare.channels == "GRAY" else "RGB"
        prepare = replace(prepare, channels=order, crop=None, raw_scale=1.0, mean=None, scale=1.0)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    if not files:
        raise DataError("the folder contains no images", code="empty", file=folder)
    classes = [labels.index(file.parent.name) for file in files if file.parent.name in labels]
    truth = np.array(classes) if len(classes) == len(files) else None
    return Samples(folder, files, lambda index: {prepare.input: _image(files[index], prepare)}, truth)


def _image(file: Path, prepare: Preprocessing) -> Array:
    try:
        return prepare(decode(read_bytes(file), COLOR, Origin("", file)), "BGR")[None]
    except DataError as error:
        error.file = str(file)
        raise


def _row(arrays: Mapping[str, Array], index: int) -> dict[str, Array]:
    return {blob: np.asarray(array[index : index + 1], np.float32) for blob, array in arrays.items()}


def _only(inputs: tuple[str, ...], source: Path) -> str:
    if len(inputs) != 1:
        problem, hint = f"the net has the inputs {', '.join(inputs)}", "pass an .h5 with a dataset for each"
        raise NetError(problem, code="unsupported", field="calibrate", value=str(source), hint=hint)
    return inputs[0]


def _dataset(file: h5py.File, name: str, path: Path) -> Array:
    dataset = find(file, name, path)
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "fiu":
        hint = f"the file has {', '.join(file) or 'none'}"
        raise DataError("no dataset of numbers", code="name-unknown", file=path, field="input", value=name, hint=hint)
    if problem := missing_values(dataset):
        raise DataError(f"damaged dataset: {problem}", code="damaged-file", file=path, field="input", value=name)
    return np.asarray(dataset[()])


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, EOFError, RuntimeError, KeyError, TypeError) as error:
        problem = f"cannot be read: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        raise FileError(problem, code="damaged-file", file=path) from None
