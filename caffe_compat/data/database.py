"""Read and write LMDB and LevelDB databases for Caffe's Data layer; reading writes nothing, writing is atomic.

Facts from BVLC Caffe 9b89154, db_lmdb.cpp and db_leveldb.cpp: records come in the order of their keys, and the first
follows the last; a new database must not exist; records are written in transactions of a thousand; LMDB's map is
doubled where it is full.
"""

from __future__ import annotations

import importlib
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any, ClassVar
from weakref import WeakValueDictionary

from caffe_compat.data.source import Origin
from caffe_compat.errors import DataError
from caffe_compat.formats.regular_file import require_regular
from caffe_compat.runtime.closing import Closing, close_at_exit
from caffe_compat_base.partial_file import locked_folder, partial_name, remove_abandoned

LMDB, LEVELDB = "LMDB", "LEVELDB"
BACKENDS = {"lmdb": "lmdb", "leveldb": "plyvel"}
"""Backend in Caffe's tools -> Python package."""
_MARKER_FILES = {LMDB: "data.mdb", LEVELDB: "CURRENT"}


class Database(Closing, ABC):
    """A database with a cursor at one of its records."""

    entries: int
    """Number of records; 0 if the database does not count them."""

    @abstractmethod
    def first(self) -> None:
        """Go to the first record."""

    @abstractmethod
    def find(self, key: bytes) -> bool:
        """Go to the record with a key; return False, and stay, if there is none."""

    @abstractmethod
    def key(self) -> bytes:
        """Return the key of the current record."""

    @abstractmethod
    def take(self) -> tuple[bytes, bytes]:
        """Return key and value of the current record and go to the next, from the last to the first."""


class _Shared:
    """A database handle shared by path: neither database can be opened twice in a process."""

    _open: ClassVar[WeakValueDictionary[tuple[int, int], _Shared]] = WeakValueDictionary()
    _lock = Lock()

    def __init__(self, handle: Any) -> None:
        self.handle = handle

    @classmethod
    def get(cls, path: Path, opened: Callable[[], Any]) -> _Shared:
        status = path.stat()
        with cls._lock:
            shared = cls._open.get((status.st_dev, status.st_ino))
            if shared is None:
                shared = cls._open[status.st_dev, status.st_ino] = cls(opened())
            return shared


class _LmdbReader(Database):
    def __init__(self, path: Path, origin: Origin, lmdb: ModuleType) -> None:
        self._origin, self._error = origin, lmdb.Error
        self._shared: _Shared | None = None
        content = path / "data.mdb" if path.is_dir() else path
        require_regular(content)
        try:
            self._shared = _Shared.get(
                content, lambda: lmdb.open(str(path), subdir=path.is_dir(), readonly=True, lock=False, create=False)
            )
            env = self._shared.handle
            # Touching pages beyond the end of a truncated file would kill the process.
            needed = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
            size = content.stat().st_size
            if size < needed:
                problem = f"truncated database: {size} bytes, expected {needed}"
                raise origin.error(problem, code="damaged-file", hint="copy it again")
            self.entries = int(env.stat()["entries"])
            self._cursor: Any = env.begin(buffers=False).cursor()
        except (lmdb.Error, OSError) as error:
            raise origin.error(
                f"cannot be read as LMDB: {error}", code="wrong-format", hint=_other_backend(path, LMDB)
            ) from None

    def close(self) -> None:
        self._shared = self._cursor = None

    def first(self) -> None:
        try:
            present = self._cursor.first()
        except self._error as error:
            raise self._origin.error(f"cannot be read: {error}", code="damaged-file") from None
        if not present:
            raise self._origin.error("the database is empty", code="empty")

    def find(self, key: bytes) -> bool:
        current = self.key()
        try:
            present = bool(key) and self._cursor.set_key(key)
        except self._error:  # the key is longer than LMDB allows
            present = False
        if not present:
            self._cursor.set_key(current)
        return present

    def key(self) -> bytes:
        return bytes(self._cursor.key())

    def take(self) -> tuple[bytes, bytes]:
        try:
            key, value = self._cursor.item()
            if not self._cursor.next():
                self._cursor.first()
        except self._error as error:
            raise self._origin.error(f"cannot be read: {error}", code="damaged-file") from None
        return key, value


class _LevelDbReader(Database):
    entries = 0

    def __init__(self, path: Path, origin: Origin, plyvel: ModuleType) -> None:
        self._origin = origin
        self._errors = (plyvel.Error, OSError)
        self._shared: _Shared | None = None
        if not (path / "CURRENT").is_file():
            raise origin.error(
                "not a LevelDB: no file CURRENT", code="wrong-format", hint=_other_backend(path, LEVELDB)
            )
        try:
            self._shared = _Shared.get(path, lambda: plyvel.DB(str(path), create_if_missing=False))
            self._iterator: Any = self._shared.handle.raw_iterator(verify_checksums=True)
        except self._errors as error:
            hint = "LevelDB must be able to write to its folder, and only one process may open it at a time"
            raise origin.error(f"cannot be read as LevelDB: {error}", code="file-unreadable", hint=hint) from None

    def close(self) -> None:
        self._shared = self._iterator = None

    def first(self) -> None:
        try:
            self._iterator.seek_to_first()
            present = self._iterator.valid()
        except self._errors as error:
            raise self._origin.error(f"cannot be read: {error}", code="damaged-file") from None
        if not present:
            raise self._origin.error("the database is empty", code="empty")

    def find(self, key: bytes) -> bool:
        current = self.key()
        self._iterator.seek(key)
        if self._iterator.valid() and self.key() == key:
            return True
        self._iterator.seek(current)
        return False

    def key(self) -> bytes:
        return bytes(self._iterator.key())

    def take(self) -> tuple[bytes, bytes]:
        try:
            key, value = self._iterator.key(), self._iterator.value()
            self._iterator.next()
            present = self._iterator.valid()
        except self._errors as error:
            raise self._origin.error(f"cannot be read: {error}", code="damaged-file") from None
        if not present:
            self.first()
        return key, value


def open_database(path: Path, backend: str, origin: Origin) -> Database:
    """Open a database (a folder, or the single file of an LMDB) at its first record; `origin` is for errors."""
    module = _package(backend.lower(), origin.error)
    database: Database = _LmdbReader(path, origin, module) if backend == LMDB else _LevelDbReader(path, origin, module)
    close_at_exit(database)
    database.first()
    return database


def _other_backend(path: Path, backend: str) -> str | None:
    """Return a hint if the folder contains the other kind of database."""
    other = LEVELDB if backend == LMDB else LMDB
    return f"the folder contains a {other}: set backend: {other}" if (path / _MARKER_FILES[other]).is_file() else None


_COMMIT = 1000
_FIRST_MAP = 1 << 26


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
def new_database(path: str | os.PathLike[str], backend: str = "lmdb") -> Iterator[_LmdbWriter | _LevelDbWriter]:
    """Yield a new lmdb or leveldb to write to; it appears under its name when the block ends without an error."""
    final = Path(path)
    if backend not in BACKENDS:
        hint = f"choose {' or '.join(BACKENDS)}"
        raise DataError("unknown backend", code="name-unknown", field="backend", value=backend, hint=hint)
    module = _package(backend, partial(DataError, field="backend", value=backend))
    if final.exists() or final.is_symlink():
        hint = "choose another name, or remove it"
        raise DataError("already exists", code="file-unwritable", file=final, hint=hint)
    if not final.absolute().parent.is_dir():
        raise DataError("no such folder", code="file-missing", file=final.parent)
    try:
        with _partial_folder(final) as folder:
            writer = _LmdbWriter(folder, module) if backend == "lmdb" else _LevelDbWriter(folder, module)
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
    folder = partial_name(final)
    folder.mkdir()
    try:
        with locked_folder(folder):
            yield folder
            folder.rename(final)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _package(backend: str, error: Callable[..., DataError]) -> ModuleType:
    """Import the package of a backend, or raise the `error` made of a problem, a code and a hint."""
    name = BACKENDS[backend]
    try:
        return importlib.import_module(name)
    except ImportError:
        hint = f'pip install "caffe-compat[{backend}]"'
        raise error(f"the package {name} is not installed", code="dependency-missing", hint=hint) from None
