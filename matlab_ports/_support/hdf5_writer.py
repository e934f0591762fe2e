"""HDF5 files whose writing may fail: a full disk, a quota or a limit on a file's size is one `OSError`.

HDF5 2.0 crashes, at once or when the interpreter ends, after a write of its own has failed. So it writes through a
`_Sink`, which lets no error through to it: the first one waits until HDF5 has closed the file. Python handles signals
in its main thread, between any two steps of Python code, so HDF5 and the sink run in another thread: Ctrl-C cannot come
between them.

``caffe_compat/formats/hdf5_writer.py`` and ``matlab_ports/_support/hdf5_writer.py`` are identical (a test compares
them), because neither package may import the other.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

import h5py

T = TypeVar("T")
_METADATA = 1 << 20  # bytes; larger pieces are values, which HDF5 does not read back while it closes a file


class HDF5Writer:
    """An HDF5 file that is being written; made by `hdf5_writer`.

    Attributes
    ----------
    path : of the file.
    """

    def __init__(self, file: h5py.File, sink: _Sink) -> None:
        self.path = sink.path
        self._file, self._sink = file, sink

    def fileno(self) -> int:
        """Return the descriptor of the file."""
        return self._sink.file.fileno()

    def do(self, work: Callable[[h5py.File], T]) -> T:
        """Call `work` with the file and return what it returns.

        Raises
        ------
        OSError
            The file could not be written; whatever HDF5 made of that, this is the system's error.
        """
        try:
            return _apart(lambda: work(self._file))
        finally:
            self._sink.check()


@contextmanager
def hdf5_writer(path: Path, mode: Literal["w", "r+"], **form: Any) -> Iterator[HDF5Writer]:
    """Open an HDF5 file to write.

    Parameters
    ----------
    path : a file that is there. With "w" all it may have is room, asked for before and used here.
    mode : "w" makes a new file; whoever calls removes it after an error. "r+" adds to one, which any error leaves as it
        was before.
    form : of h5py.File: ``libver``, ``userblock_size``.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    with path.open("r+b", buffering=0) as raw:
        sink = _Sink(raw, path, 0 if mode == "w" else path.stat().st_size)
        file = _apart(lambda: h5py.File(sink, mode, **form))
        try:
            try:
                yield HDF5Writer(file, sink)
            finally:
                _apart(file.close)
            sink.check()
            sink.trim()
        except BaseException:
            if mode == "r+":
                sink.undo()
            raise


def _apart(work: Callable[[], T]) -> T:
    """Do `work` in a thread of its own, to its end whatever happens meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


class _Sink:
    """What h5py's fileobj driver calls: reads and writes a file, and raises nothing.

    Attributes
    ----------
    file, path : what is written.
    error : the first one; from then on pieces stay in memory, where HDF5 finds them again.
    """

    def __init__(self, file: io.FileIO, path: Path, size: int) -> None:
        self.file, self.path = file, path
        self._before, self._end, self._position = size, size, 0
        self._replaced: list[tuple[int, bytes]] = []
        self._unwritten: list[tuple[int, bytes]] = []
        self.error: BaseException | None = None

    def __repr__(self) -> str:  # h5py takes it for the file's name
        return os.fspath(self.path)

    def check(self) -> None:
        """Raise the error that was met."""
        if self.error is not None:
            raise self.error

    def trim(self) -> None:
        """Give back the room that is not needed."""
        self.file.truncate(self._end)

    def undo(self) -> None:
        """Make the file what it was."""
        for position, content in reversed(self._replaced):
            self.file.seek(position)
            self.file.write(content)
        self.file.truncate(self._before)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + (self._end if whence == os.SEEK_END else 0)
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int) -> bytes:
        self.file.seek(self._position)
        content = bytearray((self.file.read(size) or b"").ljust(size, b"\0"))
        for position, piece in self._unwritten:
            first, last = max(position, self._position), min(position + len(piece), self._position + size)
            if first < last:
                content[first - self._position : last - self._position] = piece[first - position : last - position]
        return bytes(content)

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        if self.error is None:
            try:
                self._write(view)
            except BaseException as error:  # noqa: BLE001  (`check` raises it)
                self.error = error
        self._end = max(self._end, self._position + len(view))
        if self.error is not None and len(view) <= _METADATA:
            self._unwritten.append((self._position, bytes(view)))
        return len(view)

    def _write(self, view: memoryview) -> None:
        self.file.seek(self._position)
        if self._position < self._before:
            self._replaced.append(
                (self._position, self.file.read(min(len(view), self._before - self._position)) or b"")
            )
            self.file.seek(self._position)
        while view:
            view = view[self.file.write(view) :]

    def truncate(self, size: int) -> None:
        if self.error is None:
            try:
                self.file.truncate(size)
            except BaseException as error:  # noqa: BLE001  (`check` raises it)
                self.error = error
        self._end = size

    def flush(self) -> None:
        """Nothing waits here."""
