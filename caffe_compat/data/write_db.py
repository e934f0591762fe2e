"""Write LMDB and LevelDB databases for Caffe's Data layer, atomically.

Facts from BVLC Caffe 9b89154, db_lmdb.cpp and db_leveldb.cpp: a new database must not exist; records are written in
transactions of a thousand; LMDB's map is doubled where it is full.
"""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from caffe_compat.errors import DataError
from caffe_compat_base.partial_file import locked_folder, partial_name, remove_abandoned

BACKENDS = {"lmdb": "lmdb", "leveldb": "plyvel"}
"""Backend in Caffe's tools -> Python package."""

_COMMIT = 1000
_FIRST_MAP = 1 << 26


class Writer(Protocol):
    """A database being written."""

    def put(self, key: bytes, value: bytes) -> None:
        """Add a record; it replaces an earlier record with the same key."""
        ...


class _LmdbWriter:
    def __init__(self, folder: Path, lmdb: ModuleType) -> None:
        self._full = lmdb.MapFullError
        self._size = _FIRST_MAP
        self._env: Any = lmdb.open(str(folder), map_size=self._size, readahead=False)
        self._waiting: list[tuple[bytes, bytes]] = []

    def put(self, key: bytes, value: bytes) -> None:
        self._waiting.append((key, value))
        if len(self._waiting) >= _COMMIT:
            self.commit()

    def commit(self) -> None:
        while self._waiting:
            try:
                with self._env.begin(write=True) as transaction:
                    for key, value in self._waiting:
                        transaction.put(key, value)
            except self._full:
                self._size *= 2
                self._env.set_mapsize(self._size)
            else:
                self._waiting = []

    def close(self) -> None:
        self._env.close()


class _LevelDbWriter:
    def __init__(self, folder: Path, plyvel: ModuleType) -> None:
        self._db: Any = plyvel.DB(
            str(folder), create_if_missing=True, block_size=65536, write_buffer_size=268435456, max_open_files=100
        )
        self._batch: Any = self._db.write_batch()
        self._waiting = 0

    def put(self, key: bytes, value: bytes) -> None:
        self._batch.put(key, value)
        self._waiting += 1
        if self._waiting >= _COMMIT:
            self.commit()

    def commit(self) -> None:
        self._batch.write()
        self._batch = self._db.write_batch()
        self._waiting = 0

    def close(self) -> None:
        self._db.close()


@contextmanager
def new_database(path: str | os.PathLike[str], backend: str = "lmdb") -> Iterator[Writer]:
    """Yield a database to write to; it appears under its name when the block ends without an error.

    Parameters
    ----------
    path : its folder, which must not exist yet.
    backend : "lmdb" or "leveldb".

    Raises
    ------
    DataError
        The folder exists or cannot be written, or the package is not installed.
    """
    final = Path(path)
    if backend not in BACKENDS:
        hint = f"choose {' or '.join(BACKENDS)}"
        raise DataError("unknown backend", code="name-unknown", field="backend", value=backend, hint=hint)
    module = _package(backend)
    if final.exists() or final.is_symlink():
        hint = "choose another name, or remove it"
        raise DataError("already exists", code="file-unwritable", file=final, hint=hint)
    if not final.absolute().parent.is_dir():
        raise DataError("no such folder", code="file-missing", file=final.parent)
    try:
        with _partial_folder(final) as partial:
            writer = _LmdbWriter(partial, module) if backend == "lmdb" else _LevelDbWriter(partial, module)
            try:
                yield writer
                writer.commit()
            finally:
                writer.close()
    except (OSError, module.Error) as error:
        raise DataError(f"cannot be written: {error}", code="file-unwritable", file=final) from error


@contextmanager
def _partial_folder(final: Path) -> Iterator[Path]:
    remove_abandoned(final.parent.resolve())
    partial = partial_name(final)
    partial.mkdir()
    try:
        with locked_folder(partial):
            yield partial
            partial.rename(final)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _package(backend: str) -> ModuleType:
    name = BACKENDS[backend]
    try:
        return importlib.import_module(name)
    except ImportError:
        hint = f'pip install "caffe-compat[{backend}]"'
        raise DataError(
            f"the package {name} is not installed", code="dependency-missing", field="backend", value=backend, hint=hint
        ) from None
