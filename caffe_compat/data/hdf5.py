"""HDF5Data: batches of rows of the datasets named like the tops, from a list of files, as Caffe 1.0 reads them.

Facts from BVLC Caffe 9b89154, hdf5_data_layer.cpp and util/hdf5.cpp: names in the list are separated by white space;
one file is open at a time; rows continue from file to file and from the last to the first, so a batch may span files or
exceed one; a file's datasets share their number of rows; float and integer datasets are read as float32;
transform_param is refused. With shuffle the order of files is drawn at the start and after every pass, the order of
rows when a file is opened and once more when reading goes on to it.

Relative names are looked up in the working directory (Caffe's rule), then next to the file that names them. Beyond
Caffe, names in a list that begin with ``./`` or ``../`` are looked up next to the list first, and white space does not
end a name between double quotes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
import torch

from caffe_compat.data.c_random import CRand, shuffle
from caffe_compat.data.source import Cursor, DataSource, find_input, looked_in, positive, register
from caffe_compat.errors import DataError, did_you_mean
from caffe_compat.formats.hdf5_reader import find_linked, missing_values, open_hdf5
from caffe_compat.schema.caffe_pb2 import LayerParameter

# Files that need more memory than this as float32 are read batch by batch.
CACHE_BYTES = 2 << 30
# Batches to make ahead without shuffling; Caffe makes none, which gives the same batches.
AHEAD = 2
# What h5py raises for damaged files, besides OSError.
_DAMAGE = (RuntimeError, KeyError, ValueError, TypeError)


def listed_names(text: str) -> list[str]:
    """Split a list into file names."""
    return [quoted or plain for quoted, plain in re.findall(r'"([^"\n]+)"|(\S+)', text)]


def find_listed(name: str, listing: Path) -> Path | None:
    """Find the file that a list names, or return None."""
    if name.startswith(("./", "../")) and (listing.parent / name).exists():
        return listing.parent / name
    return find_input(name, listing.parent)


def _missing_file_hint(name: str, listing: Path) -> str:
    """Describe where a name was looked for, or how to quote a name with white space."""
    lines = [line.strip() for line in listing.read_text(encoding="utf-8").splitlines() if name in line.split()]
    quoted = next((line for line in lines if line != name and find_listed(line, listing)), None)
    if quoted is None:
        return looked_in(listing.parent)
    return f'white space separates names; write "{quoted}" in double quotes'


class _File:
    """The datasets of one file, cached in memory on first use if they fit.

    The file is open only during a read: no HDF5 object outlives a call.
    """

    def __init__(self, path: Path, tops: Sequence[str], cache_bytes: int) -> None:
        self.path = path
        self._tops = tops
        self._checked = False
        with self._opened() as datasets:
            self.row_shapes = [tuple(map(int, data.shape[1:])) for data in datasets]
            self.rows = self._count_rows(datasets)
        self._checked = True
        size = 4 * self.rows * sum(math.prod(shape) for shape in self.row_shapes)
        self._cacheable = size <= cache_bytes
        self._cache: list[npt.NDArray[np.float32]] = []

    @contextmanager
    def _opened(self) -> Iterator[list[h5py.Dataset]]:
        """Open the file for as long as the context lasts; yield a dataset for every top."""
        stack = ExitStack()
        try:
            file = stack.enter_context(open_hdf5(self.path))
        except (OSError, *_DAMAGE) as error:
            raise DataError(
                f"cannot be read as HDF5: {_reason(error)}", code="damaged-file", file=self.path, hint="write it again"
            ) from None
        try:
            with stack:
                yield [self._dataset(file, top, stack) for top in self._tops]
        except (OSError, *_DAMAGE) as error:
            problem = f"damaged HDF5 file: {_reason(error)}"
            raise DataError(problem, code="damaged-file", file=self.path, hint="write it again") from None

    def _dataset(self, file: h5py.File, top: str, stack: ExitStack) -> h5py.Dataset:
        dataset = find_linked(file, top, self.path, stack)
        if dataset is None:
            hint = did_you_mean(top, list(file)) or f"the datasets are {', '.join(file) or 'none'}"
            raise DataError(
                "no dataset for this top", code="name-unknown", file=self.path, field="top", value=top, hint=hint
            )
        if not isinstance(dataset, h5py.Dataset):
            raise DataError(
                "expected a dataset, got a group", code="wrong-type", file=self.path, field="top", value=top
            )
        problem = "" if self._checked else missing_values(dataset)
        if problem:
            raise DataError(
                f"damaged dataset: {problem}", code="damaged-file", file=self.path, field="top", value=top,
                hint="write it again",
            )  # fmt: skip
        if dataset.ndim < 1:
            raise DataError(
                "expected rows, got a scalar", code="shape-mismatch", file=self.path, field="top", value=top
            )
        if dataset.dtype.kind not in "fiu":
            raise DataError(
                f"expected float or integer data, got {dataset.dtype}",
                code="wrong-type",
                file=self.path,
                field="top",
                value=top,
            )
        return dataset

    def _count_rows(self, datasets: Sequence[h5py.Dataset]) -> int:
        counts = {top: int(data.shape[0]) for top, data in zip(self._tops, datasets, strict=True)}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise DataError(f"datasets differ in their numbers of rows: {listed}", code="wrong-count", file=self.path)
        rows = next(iter(counts.values()))
        if rows == 0:
            raise DataError("no rows", code="empty", file=self.path, hint="remove the file from the list")
        return rows

    def _read(self, data: h5py.Dataset, start: int, stop: int) -> npt.NDArray[np.float32]:
        values = np.empty((stop - start, *data.shape[1:]), np.float32)
        try:
            if values.size:
                data.read_direct(values, np.s_[start:stop])  # HDF5 converts, as in Caffe
        except (OSError, *_DAMAGE) as error:
            name = str(data.name).lstrip("/")
            raise DataError(
                f"cannot read rows: {_reason(error)}", code="damaged-file", file=self.path, field="top", value=name
            ) from None
        return values

    def take(self, order: npt.NDArray[np.int64] | None, start: int, outs: Sequence[npt.NDArray[np.float32]]) -> None:
        """Copy rows from `start` on, permuted by `order`, into `outs`, one array per top."""
        stop = start + len(outs[0])
        if self._cacheable:
            if not self._cache:
                with self._opened() as datasets:
                    self._cache = [self._read(data, 0, self.rows) for data in datasets]
            for rows, out in zip(self._cache, outs, strict=True):
                if order is None:
                    out[:] = rows[start:stop]
                else:
                    np.take(rows, order[start:stop], axis=0, out=out)
            return
        with self._opened() as datasets:
            for data, out in zip(datasets, outs, strict=True):
                if order is None:
                    out[:] = self._read(data, start, stop)
                else:
                    for index, row in enumerate(order[start:stop].tolist()):
                        out[index] = self._read(data, row, row + 1)[0]


@register
class HDF5Source(DataSource):
    """Batches of an HDF5Data layer; files larger than `cache_bytes` are read batch by batch.

    Caffe lets rows of another shape in a later file through and reads beyond them; here they are refused.
    """

    type = "HDF5Data"

    def __init__(self, layer: LayerParameter, *, base_dir: Path, rng: CRand, cache_bytes: int = CACHE_BYTES) -> None:
        self.tops = tuple(layer.top)
        self._layer = layer.name
        self._batch = positive(layer, "hdf5_data_param.batch_size", layer.hdf5_data_param.batch_size)
        self._shuffled = bool(layer.hdf5_data_param.shuffle)
        # Shuffled sources take turns on one random stream, so that none of them can run ahead of the others.
        self.prefetch = 0 if self._shuffled else AHEAD
        self._rng = rng
        self._cache_bytes = cache_bytes
        self._file_data: _File | None = None
        self.shapes = {}
        if layer.HasField("transform_param"):
            problem = "HDF5Data does not transform data"
            raise DataError(problem, code="unsupported", layer=layer.name, field="transform_param", hint="remove it")
        self.files = self._read_list(layer.hdf5_data_param.source, base_dir)
        self._order = np.arange(len(self.files))
        self.reset()
        rows = self._current.row_shapes
        self.shapes = {top: (self._batch, *shape) for top, shape in zip(self.tops, rows, strict=True)}

    def _read_list(self, source: str, base_dir: Path) -> list[Path]:
        field = "hdf5_data_param.source"
        listing = find_input(source, base_dir) if source else None
        if listing is None or not listing.is_file():
            hint = f"{looked_in(base_dir)}; expected a list of HDF5 files"
            raise DataError(
                "no such file", code="file-missing", layer=self._layer, field=field, value=source, hint=hint
            )
        try:
            names = listed_names(listing.read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            raise DataError(
                "not a list of files", code="wrong-format", layer=self._layer, field=field, value=source
            ) from None
        if not names:
            raise DataError("the list is empty", code="empty", layer=self._layer, field=field, value=source)
        return [self._find(name, listing) for name in names]

    @staticmethod
    def _find(name: str, listing: Path) -> Path:
        path = find_listed(name, listing)
        if path is None:
            hint = _missing_file_hint(name, listing)
            raise DataError("no such HDF5 file", code="file-missing", file=listing, value=name, hint=hint)
        return path

    def reset(self) -> None:
        """Start again from the first file; the shuffle continues its random numbers."""
        self._file = 0
        self._order[:] = np.arange(len(self.files))
        if self._shuffled:
            shuffle(self._order, self._rng)
        self._load()
        self._row = 0

    def cursor(self) -> Cursor:
        """Return file and row, and their orders if shuffled."""
        rows = np.arange(0) if self._rows is None else self._rows
        place = np.array([self._file, self._row, self._current.rows])
        return {"place": place, "files": self._order.copy(), "rows": rows.copy()}

    def fits(self, cursor: Cursor) -> bool:
        """Return whether the number of files, the length of the current file and the shuffling are the same."""
        place, files, rows = (cursor.get(name, np.arange(0)) for name in ("place", "files", "rows"))
        if len(place) != 3 or sorted(files.tolist()) != list(range(len(self.files))):
            return False
        file, row, count = place.tolist()
        if not (0 <= file < len(files) and 0 <= row < count):
            return False
        data = _File(self.files[int(files[file])], self.tops, self._cache_bytes)
        return data.rows == count and sorted(rows.tolist()) == (list(range(count)) if self._shuffled else [])

    def seek(self, cursor: Cursor) -> None:
        """Go to a file and row."""
        self._order[:] = cursor["files"]
        self._file, self._row, _ = cursor["place"].tolist()
        self._load()
        if self._rows is not None:
            self._rows[:] = cursor["rows"]

    def next(self) -> dict[str, torch.Tensor]:
        """Return the next batch; after an error the source cannot be used any more."""
        batch = {top: np.empty(self.shapes[top], np.float32) for top in self.tops}
        filled = 0
        while filled < self._batch:
            file = self._current
            count = min(self._batch - filled, file.rows - self._row)
            file.take(self._rows, self._row, [values[filled : filled + count] for values in batch.values()])
            filled += count
            self._row += count
            if self._row == file.rows:
                self._advance()
        return {top: torch.from_numpy(values) for top, values in batch.items()}

    @property
    def _current(self) -> _File:
        assert self._file_data is not None
        return self._file_data

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
        file = _File(self.files[int(self._order[self._file])], self.tops, self._cache_bytes)
        self._file_data = file
        self._rows = np.arange(file.rows) if self._shuffled else None
        if self._rows is not None:
            shuffle(self._rows, self._rng)
        self._check_shapes(file)

    def _check_shapes(self, file: _File) -> None:
        for top, shape in zip(self.tops, file.row_shapes, strict=True):
            first = self.shapes.get(top, (0, *shape))[1:]
            if shape != first:
                problem = f"rows have shape {shape}, in the first file {first}"
                raise DataError(problem, code="shape-mismatch", file=file.path, field="top", value=top)


def _reason(error: Exception) -> str:
    text = str(error)
    inner = text[text.find("(") + 1 : text.rfind(")")] if "(" in text else text
    return inner.partition(": time =")[0]
