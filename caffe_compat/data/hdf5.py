"""HDF5Data: rows of datasets named like the tops, from a list of files, as Caffe 1.0 reads them.

Facts from BVLC Caffe 9b89154, hdf5_data_layer.cpp and util/hdf5.cpp: names in the list are separated by white space;
one file is held at a time; rows go on from file to file and from the last to the first, so a batch may span files or
exceed one; a file's datasets share their number of rows; float and integer datasets are read as float32;
transform_param is refused. With shuffle the order of files is drawn at the start and after every pass, the order of
rows when a file is opened and once more when reading goes on to it.

Relative names are looked up in the working directory (Caffe's rule), then beside the file that names them. Beyond
Caffe, names in a list that begin with ``./`` or ``../`` are looked up beside the list first, and white space does not
end a name between double quotes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import numpy.typing as npt
import torch

from caffe_compat.data.c_random import Randomness, shuffle
from caffe_compat.data.source import DataSource, find_input, looked_in, register
from caffe_compat.errors import DataError, did_you_mean
from caffe_compat.formats.hdf5_reader import find_beside, missing_values, open_hdf5

if TYPE_CHECKING:
    from caffe_compat.schema.caffe_pb2 import LayerParameter

# A file whose rows need more than this as float32 is read batch by batch instead of being held in memory.
HELD_BYTES = 2 << 30
# Batches made ahead where nothing is shuffled; Caffe makes none, and its batches are the same ones.
AHEAD = 2
# What h5py raises, besides OSError, where the bytes of a file make no sense.
_DAMAGE = (RuntimeError, KeyError, ValueError, TypeError)


def listed_names(text: str) -> list[str]:
    """Return the names in a list."""
    return [quoted or plain for quoted, plain in re.findall(r'"([^"\n]+)"|(\S+)', text)]


def find_listed(name: str, listing: Path) -> Path | None:
    """Return the file that a name in a list means; None if there is none."""
    if name.startswith(("./", "../")) and (listing.parent / name).exists():
        return listing.parent / name
    return find_input(name, listing.parent)


def _where(name: str, listing: Path) -> str:
    """Tell where a name was looked for, and whether it is a part of a file's name."""
    lines = [line.strip() for line in listing.read_text(encoding="utf-8").splitlines() if name in line.split()]
    whole = next((line for line in lines if line != name and find_listed(line, listing)), None)
    if whole is None:
        return looked_in(listing.parent)
    return f'white space ends a name in a list; write "{whole}" with its quotes, or ./NAME for a file beside the list'


class _Table:
    """The datasets of one file, read on first use and held in memory if they fit.

    The file is open only while something is read: no object of HDF5 outlives a call.
    """

    def __init__(self, path: Path, tops: Sequence[str], held_bytes: int) -> None:
        self.path = path
        self._tops = tops
        self._checked = False
        with self._opened() as datasets:
            self.row_shapes = [tuple(map(int, data.shape[1:])) for data in datasets]
            self.rows = self._count_rows(datasets)
        self._checked = True
        size = 4 * self.rows * sum(math.prod(shape) for shape in self.row_shapes)
        self._hold = size <= held_bytes
        self._held: list[npt.NDArray[np.float32]] = []

    @contextmanager
    def _opened(self) -> Iterator[list[h5py.Dataset]]:
        """Open the file for as long as the context lasts; yield a dataset for every top."""
        stack = ExitStack()
        try:
            file = stack.enter_context(open_hdf5(self.path))
        except (OSError, *_DAMAGE) as error:
            raise DataError(
                f"cannot be read as HDF5: {_reason(error)}", file=self.path, hint="write it again"
            ) from None
        try:
            with stack:
                yield [self._dataset(file, top, stack) for top in self._tops]
        except (OSError, *_DAMAGE) as error:
            problem = f"this HDF5 file is damaged: {_reason(error)}"
            raise DataError(problem, file=self.path, hint="write it again") from None

    def _dataset(self, file: h5py.File, top: str, stack: ExitStack) -> h5py.Dataset:
        dataset = find_beside(file, top, self.path, stack)
        if dataset is None:
            hint = did_you_mean(top, list(file)) or f"it has {', '.join(file) or 'none'}"
            raise DataError("no such dataset; there must be one for every top", file=self.path, value=top, hint=hint)
        if not isinstance(dataset, h5py.Dataset):
            raise DataError("is a group where a dataset is needed", file=self.path, value=top)
        problem = "" if self._checked else missing_values(dataset)
        if problem:
            raise DataError(f"the dataset is damaged: {problem}", file=self.path, value=top, hint="write it again")
        if dataset.ndim < 1:
            raise DataError("the dataset is a scalar", file=self.path, value=top, hint="the first axis counts rows")
        if dataset.dtype.kind not in "fiu":
            raise DataError(
                f"the dataset holds {dataset.dtype}", file=self.path, value=top, hint="float and integer types work"
            )
        return dataset

    def _count_rows(self, datasets: Sequence[h5py.Dataset]) -> int:
        counts = {top: int(data.shape[0]) for top, data in zip(self._tops, datasets, strict=True)}
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise DataError(
                f"its datasets have different numbers of rows: {told}", file=self.path, hint="they must agree"
            )
        rows = next(iter(counts.values()))
        if rows == 0:
            raise DataError("it holds no rows", file=self.path, hint="leave it out of the list")
        return rows

    def _read(self, data: h5py.Dataset, start: int, stop: int) -> npt.NDArray[np.float32]:
        values = np.empty((stop - start, *data.shape[1:]), np.float32)
        try:
            if values.size:
                data.read_direct(values, np.s_[start:stop])  # HDF5 converts, as in Caffe
        except (OSError, *_DAMAGE) as error:
            name = str(data.name).lstrip("/")
            raise DataError(f"its rows cannot be read: {_reason(error)}", file=self.path, value=name) from None
        return values

    def take(self, order: npt.NDArray[np.int64] | None, start: int, outs: Sequence[npt.NDArray[np.float32]]) -> None:
        """Put rows `start`.. of every dataset (of the permutation `order`) into `outs`, one array for each top."""
        stop = start + len(outs[0])
        if self._hold:
            if not self._held:
                with self._opened() as datasets:
                    self._held = [self._read(data, 0, self.rows) for data in datasets]
            for held, out in zip(self._held, outs, strict=True):
                if order is None:
                    out[:] = held[start:stop]
                else:
                    np.take(held, order[start:stop], axis=0, out=out)
            return
        with self._opened() as datasets:
            for data, out in zip(datasets, outs, strict=True):
                if order is None:
                    out[:] = self._read(data, start, stop)
                else:
                    for place, row in enumerate(order[start:stop].tolist()):
                        out[place] = self._read(data, row, row + 1)[0]


@register
class HDF5Source(DataSource):
    """Batches of an HDF5Data layer.

    Parameters
    ----------
    layer, base_dir, rng : see :func:`caffe_compat.data.open_source`.
    held_bytes : larger files are read batch by batch.

    Notes
    -----
    Caffe lets rows of another shape in a later file through and reads beyond them; here they are refused.
    """

    type = "HDF5Data"

    def __init__(self, layer: LayerParameter, *, base_dir: Path, rng: Randomness, held_bytes: int = HELD_BYTES) -> None:
        self.tops = tuple(layer.top)
        self._layer = layer.name
        self._batch = int(layer.hdf5_data_param.batch_size)
        self._shuffled = bool(layer.hdf5_data_param.shuffle)
        # Shuffled sources take turns on one random stream, so that none of them can run ahead of the others.
        self.prefetch = 0 if self._shuffled else AHEAD
        self._rng = rng
        self._held_bytes = held_bytes
        self._table: _Table | None = None
        self.shapes = {}
        self._check(layer)
        self.files = self._read_list(layer.hdf5_data_param.source, base_dir)
        self._order = np.arange(len(self.files))
        self.reset()
        rows = self._open_table.row_shapes
        self.shapes = {top: (self._batch, *shape) for top, shape in zip(self.tops, rows, strict=True)}

    def _check(self, layer: LayerParameter) -> None:
        if not self.tops:
            raise DataError("a data layer needs at least one top", layer=layer.name, field="top")
        if layer.HasField("transform_param"):
            raise DataError(
                "HDF5Data does not transform data", layer=layer.name, field="transform_param", hint="remove it"
            )
        if self._batch < 1:
            raise DataError(
                "must be at least 1", layer=layer.name, field="hdf5_data_param.batch_size", value=self._batch
            )

    def _read_list(self, source: str, base_dir: Path) -> list[Path]:
        field = "hdf5_data_param.source"
        listing = find_input(source, base_dir) if source else None
        if listing is None or not listing.is_file():
            hint = f"{looked_in(base_dir)}; a list of HDF5 files, one a line"
            raise DataError("no such list of files", layer=self._layer, field=field, value=source, hint=hint)
        try:
            names = listed_names(listing.read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            raise DataError(
                "the list is not text", layer=self._layer, field=field, value=source, hint="one file name a line"
            ) from None
        if not names:
            raise DataError(
                "the list is empty", layer=self._layer, field=field, value=source, hint="name at least one HDF5 file"
            )
        return [self._find(name, listing) for name in names]

    @staticmethod
    def _find(name: str, listing: Path) -> Path:
        path = find_listed(name, listing)
        if path is None:
            raise DataError("no such HDF5 file", file=listing, value=name, hint=_where(name, listing))
        return path

    def reset(self) -> None:
        """Start again from the first file."""
        self._file = 0
        self._order[:] = np.arange(len(self.files))
        if self._shuffled:
            shuffle(self._order, self._rng)
        self._load()
        self._row = 0

    def cursor(self) -> dict[str, npt.NDArray[np.int64]]:
        """Return file, row, and their orders where they are shuffled."""
        rows = np.arange(0) if self._rows is None else self._rows
        place = np.array([self._file, self._row, self._open_table.rows])
        return {"place": place, "files": self._order.copy(), "rows": rows.copy()}

    def fits(self, cursor: Mapping[str, npt.NDArray[np.int64]]) -> bool:
        """Tell whether there are as many files, the one being read as long, and shuffled alike."""
        place, files, rows = (cursor.get(name, np.arange(0)) for name in ("place", "files", "rows"))
        if len(place) != 3 or sorted(files.tolist()) != list(range(len(self.files))):
            return False
        file, row, count = place.tolist()
        if not (0 <= file < len(files) and 0 <= row < count):
            return False
        table = _Table(self.files[int(files[file])], self.tops, self._held_bytes)
        return table.rows == count and sorted(rows.tolist()) == (list(range(count)) if self._shuffled else [])

    def seek(self, cursor: Mapping[str, npt.NDArray[np.int64]]) -> None:
        """Go to a file and row."""
        self._order[:] = cursor["files"]
        self._file, self._row, _ = cursor["place"].tolist()
        self._load()
        if self._rows is not None:
            self._rows[:] = cursor["rows"]

    def next(self) -> dict[str, torch.Tensor]:
        """Return the next batch; on an error nothing is returned and the source is of no further use."""
        batch = {top: np.empty(self.shapes[top], np.float32) for top in self.tops}
        filled = 0
        while filled < self._batch:
            table = self._open_table
            count = min(self._batch - filled, table.rows - self._row)
            table.take(self._rows, self._row, [values[filled : filled + count] for values in batch.values()])
            filled += count
            self._row += count
            if self._row == table.rows:
                self._advance()
        return {top: torch.from_numpy(values) for top, values in batch.items()}

    @property
    def _open_table(self) -> _Table:
        assert self._table is not None
        return self._table

    def _advance(self) -> None:
        self._row = 0
        if len(self.files) > 1:
            self._file += 1
            if self._file == len(self.files):
                self._file = 0
                if self._shuffled:
                    shuffle(self._order, self._rng)
            self._load()
        if self._rows is not None:
            shuffle(self._rows, self._rng)

    def _load(self) -> None:
        table = _Table(self.files[int(self._order[self._file])], self.tops, self._held_bytes)
        self._table = table
        self._rows = np.arange(table.rows) if self._shuffled else None
        if self._rows is not None:
            shuffle(self._rows, self._rng)
        self._check_shapes(table)

    def _check_shapes(self, table: _Table) -> None:
        for top, shape in zip(self.tops, table.row_shapes, strict=True):
            first = self.shapes.get(top, (0, *shape))[1:]
            if shape != first:
                raise DataError(
                    f"its rows have the shape {shape}, those of the first file {first}", file=table.path, value=top
                )


def _reason(error: Exception) -> str:
    text = str(error)
    inner = text[text.find("(") + 1 : text.rfind(")")] if "(" in text else text
    return inner.partition(": time =")[0]
