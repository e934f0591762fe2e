"""The two databases that Caffe's Data layer reads, opened so that nothing is written: LMDB and LevelDB.

Facts from BVLC Caffe 9b89154, db_lmdb.cpp and db_leveldb.cpp: records are taken in the order of their keys, and after
the last one the first.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any, ClassVar
from weakref import WeakValueDictionary

from caffe_compat.data.origin import At
from caffe_compat.runtime.closing import Closing, close_at_exit

LMDB, LEVELDB = "LMDB", "LEVELDB"
_PACKAGES = {LMDB: "lmdb", LEVELDB: "plyvel"}
_SIGNS = {LMDB: "data.mdb", LEVELDB: "CURRENT"}


class Database(Closing, ABC):
    """A database at one of its records.

    Attributes
    ----------
    entries : how many records there are; 0 where the database does not count them.
    """

    entries: int

    @abstractmethod
    def first(self) -> None:
        """Go to the first record."""

    @abstractmethod
    def find(self, key: bytes) -> bool:
        """Go to the record with a key; return False, and stay, where there is none."""

    @abstractmethod
    def key(self) -> bytes:
        """Return the key of the record."""

    @abstractmethod
    def take(self) -> tuple[bytes, bytes]:
        """Return key and value of the record, and go to the next one, from the last to the first."""


class _Shared:
    """What is open of one path until nobody holds it: neither database can be opened twice in a process."""

    _open: ClassVar[WeakValueDictionary[tuple[int, int], _Shared]] = WeakValueDictionary()
    _lock = Lock()

    def __init__(self, handle: Any) -> None:
        self.handle = handle

    @classmethod
    def get(cls, path: Path, opened: Callable[[], Any]) -> _Shared:
        found = path.stat()
        with cls._lock:
            shared = cls._open.get((found.st_dev, found.st_ino))
            if shared is None:
                shared = cls._open[found.st_dev, found.st_ino] = cls(opened())
            return shared


class _Lmdb(Database):
    def __init__(self, path: Path, at: At, lmdb: ModuleType) -> None:
        self._at, self._error = at, lmdb.Error
        self._shared: _Shared | None = None
        content = path / "data.mdb" if path.is_dir() else path
        try:
            self._shared = _Shared.get(
                content, lambda: lmdb.open(str(path), subdir=path.is_dir(), readonly=True, lock=False, create=False)
            )
            env = self._shared.handle
            # Pages beyond the end of a file cut short would end the process when they are touched.
            needed = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
            size = content.stat().st_size
            if size < needed:
                told = f"{size} of {needed} bytes are there"
                raise at.error(f"the database is cut short: {told}", hint="copy it again")
            self.entries = int(env.stat()["entries"])
            self._cursor: Any = env.begin(buffers=False).cursor()
        except (lmdb.Error, OSError) as error:
            raise at.error(f"cannot be read as LMDB: {error}", hint=_other(path, LMDB)) from None

    def close(self) -> None:
        self._shared = self._cursor = None

    def first(self) -> None:
        try:
            found = self._cursor.first()
        except self._error as error:
            raise self._at.error(f"cannot be read: {error}") from None
        if not found:
            raise self._at.error("the database is empty")

    def find(self, key: bytes) -> bool:
        before = self.key()
        try:
            found = bool(key) and self._cursor.set_key(key)
        except self._error:  # no key can be so long
            found = False
        if not found:
            self._cursor.set_key(before)
        return found

    def key(self) -> bytes:
        return bytes(self._cursor.key())

    def take(self) -> tuple[bytes, bytes]:
        try:
            key, value = self._cursor.item()
            if not self._cursor.next():
                self._cursor.first()
        except self._error as error:
            raise self._at.error(f"cannot be read: {error}") from None
        return key, value


class _LevelDb(Database):
    entries = 0

    def __init__(self, path: Path, at: At, plyvel: ModuleType) -> None:
        self._at = at
        self._errors = (plyvel.Error, OSError)
        self._shared: _Shared | None = None
        if not (path / "CURRENT").is_file():
            raise at.error("is no LevelDB: it has no file CURRENT", hint=_other(path, LEVELDB))
        try:
            self._shared = _Shared.get(path, lambda: plyvel.DB(str(path), create_if_missing=False))
            self._iterator: Any = self._shared.handle.raw_iterator(verify_checksums=True)
        except self._errors as error:
            hint = "LevelDB writes into its folder even to read, and lets one process in at a time"
            raise at.error(f"cannot be read as LevelDB: {error}", hint=hint) from None

    def close(self) -> None:
        self._shared = self._iterator = None

    def first(self) -> None:
        try:
            self._iterator.seek_to_first()
            found = self._iterator.valid()
        except self._errors as error:
            raise self._at.error(f"cannot be read: {error}") from None
        if not found:
            raise self._at.error("the database is empty")

    def find(self, key: bytes) -> bool:
        before = self.key()
        self._iterator.seek(key)
        if self._iterator.valid() and self.key() == key:
            return True
        self._iterator.seek(before)
        return False

    def key(self) -> bytes:
        return bytes(self._iterator.key())

    def take(self) -> tuple[bytes, bytes]:
        try:
            key, value = self._iterator.key(), self._iterator.value()
            self._iterator.next()
            found = self._iterator.valid()
        except self._errors as error:
            raise self._at.error(f"cannot be read: {error}") from None
        if not found:
            self.first()
        return key, value


def open_database(path: Path, backend: str, at: At) -> Database:
    """Open a database at its first record.

    Parameters
    ----------
    path : the folder, or an LMDB's single file.
    backend : LMDB or LEVELDB.
    at : names it in errors.

    Raises
    ------
    DataError
        The package for it is missing, or it is damaged, empty or of the other kind.
    """
    package = _PACKAGES[backend]
    try:
        module = importlib.import_module(package)
    except ImportError:
        hint = f'pip install "caffe-compat[{backend.lower()}]"'
        raise at.error(f"reading it needs the package {package}", hint=hint) from None
    database: Database = _Lmdb(path, at, module) if backend == LMDB else _LevelDb(path, at, module)
    close_at_exit(database)
    database.first()
    return database


def _other(path: Path, backend: str) -> str | None:
    """Return what helps where the folder holds the other kind of database."""
    other = LEVELDB if backend == LMDB else LMDB
    return f"it looks like the other kind: backend: {other}" if (path / _SIGNS[other]).is_file() else None
