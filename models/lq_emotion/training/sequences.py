"""Sequences of features: written for HDF5Data in the order of training, and answered by a trained head."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from caffe_compat.build.net import load_net
from caffe_compat.errors import DataError
from caffe_compat.formats.files import new_hdf5
from lq_emotion.common.devices import choose_device
from lq_emotion.common.lists import write_list
from lq_emotion.nets.head import ANSWER
from lq_emotion.nets.lstm import CONT, FEATURES, ROW_CONT, ROW_LABEL, ROWS, SequenceHead
from lq_emotion.training.features import create_rows, refuse_missing, write_rows

Array = npt.NDArray[np.float32]
FILE_BYTES = 128 << 20
"""Of a file: HDF5Data reads one into memory."""


class LabelledSequences(Protocol):
    """A list of (features (T, C), label), or an object that reads each when its turn comes."""

    def __len__(self) -> int:
        """Return how many there are."""

    def __getitem__(self, index: int, /) -> tuple[Array, int]:
        """Return the features of the frames and the label of one."""


def write_sequences(
    sequences: LabelledSequences, folder: Path, name: str, *, batch: int, epochs: int = 1, seed: int = 0
) -> Path:
    """Write sequences, all of one shape (T, C), as `SequenceHead.data` reads them, and return the list of the files.

    NAME.txt and NAME_0000.h5, NAME_0001.h5 ... are of `FILE_BYTES` at most, or of a batch; one batch is in memory at a
    time. A batch of N sequences is T x N rows: the first frames, then the second frames, and so on. The last batch of
    an epoch is filled up from the beginning of the epoch's order. The orders of the epochs, drawn by
    `numpy.random.default_rng(seed)`, are written one after another; training begins again with the first after the
    last.
    """
    for field, value in (("sequences", len(sequences)), ("batch", batch), ("epochs", epochs)):
        if value < 1:
            raise DataError("must be positive", code="out-of-range", field=field, value=value)
    shape = np.shape(sequences[0][0])
    if len(shape) != 2:
        problem = f"has shape {shape}, expected (frames, features)"
        raise DataError(problem, code="shape-mismatch", field="sequences[0]")
    listing = folder / f"{name}.txt"
    listing.unlink(missing_ok=True)  # it names only files of one writing
    in_file = max(1, FILE_BYTES // (4 * batch * shape[0] * (shape[1] + 2)))
    batches = _orders(len(sequences), batch, epochs, seed)
    files: list[Path] = []
    while part := list(islice(batches, in_file)):
        files.append(folder / f"{name}_{len(files):04d}.h5")
        _write_file(sequences, part, (shape[0], shape[1]), files[-1])
    write_list(files, listing)
    return listing


def predict_sequences(
    head: SequenceHead, weights: Path, features: Array, *, batch: int = 32, device: str = "cpu"
) -> Array:
    """Return the probabilities (N, classes), float32, of sequences (N, T, C), an array or what slices like one.

    Up to `batch` sequences are in the net at once; the last batch is filled up with zeros.
    """
    count, expected = len(features), (head.steps, head.features)
    if features.shape[1:] != expected or not count:
        problem = f"have shape {features.shape}, expected (N, {expected[0]}, {expected[1]})"
        raise DataError(problem, code="shape-mismatch", field="features")
    place = choose_device(device)
    net = load_net(head.deploy(batch), weights).to(place)
    refuse_missing(net, net.meta["report"], weights)
    cont = torch.from_numpy(_cont(head.steps, batch)).to(place)
    out = np.empty((count, head.classes), np.float32)
    for start in range(0, count, batch):
        part = features[start : start + batch]
        rows = np.zeros((head.steps, batch, head.features), np.float32)
        rows[:, : len(part)] = np.swapaxes(part, 0, 1)
        with torch.no_grad():
            answer = net.forward_dict({FEATURES: torch.from_numpy(rows).to(place), CONT: cont})[ANSWER]
        out[start : start + len(part)] = answer[: len(part)].cpu().numpy()
    return out


def _orders(count: int, batch: int, epochs: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the numbers of the sequences of each batch."""
    rng = np.random.default_rng(seed)
    batches = -(-count // batch)
    for _ in range(epochs):
        yield from np.resize(rng.permutation(count), (batches, batch))


def _write_file(
    sequences: LabelledSequences, batches: Sequence[npt.NDArray[np.int64]], shape: tuple[int, int], path: Path
) -> None:
    rows = shape[0] * len(batches[0])
    with new_hdf5(path) as file:
        for number, order in enumerate(batches):
            values = _batch(sequences, order.tolist(), shape)
            if not number:
                file.do(partial(create_rows, len(batches) * rows, values))
            file.do(partial(write_rows, number * rows, values))


def _batch(sequences: LabelledSequences, order: Sequence[int], shape: tuple[int, int]) -> dict[str, Array]:
    """Return the rows of a batch by dataset."""
    features = np.empty((shape[0], len(order), shape[1]), np.float32)
    labels = np.empty(features.shape[:2], np.float32)
    for column, index in enumerate(order):
        values, label = sequences[index]
        if np.shape(values) != shape:
            problem = f"has shape {np.shape(values)}, the first has {shape}"
            raise DataError(problem, code="shape-mismatch", field=f"sequences[{index}]")
        features[:, column], labels[:, column] = values, label
    return {ROWS: features.reshape(-1, shape[1]), ROW_CONT: _cont(*labels.shape).ravel(), ROW_LABEL: labels.ravel()}


def _cont(steps: int, sequences: int) -> Array:
    """Return 0 where a sequence begins and 1 where it goes on, (T, N)."""
    cont = np.ones((steps, sequences), np.float32)
    cont[0] = 0
    return cont
