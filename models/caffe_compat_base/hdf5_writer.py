"""Write HDF5 files such that a full disk, a quota or a limit on the file's size raises one `OSError`.

HDF5 2.0 crashes, at once or at the interpreter's exit, after one of its writes has failed. So it writes through a
`_Sink`, which hides errors from it: the first error is raised after HDF5 has closed the file. Python handles signals in
its main thread, between any two steps of Python code, so HDF5 and the sink run in another thread, where Ctrl-C cannot
interrupt them.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    import h5py

T = TypeVar("T")
_METADATA = 1 << 20  # bytes; larger pieces are values, which HDF5 does not read again while it closes a file


class HDF5Writer:
    """The HDF5 file `path` while it is written; `hdf5_writer` opens it."""

    def __init__(self, file: h5py.File, sink: _Sink) -> None:
        self.path = sink.path
        self._file, self._sink = file, sink

    def fileno(self) -> int:
        """Return the file's descriptor."""
        return self._sink.file.fileno()

    def do(self, work: Callable[[h5py.File], T]) -> T:
        """Call `work` with the file and return its result; an OSError is the system's error, not that of HDF5."""
        try:
            return _run_in_thread(lambda: work(self._file))
        finally:
            self._sink.check()


@contextmanager
def hdf5_writer(path: Path, mode: Literal["w", "r+"], **form: Any) -> Iterator[HDF5Writer]:
    """Open an existing HDF5 file for writing; `form` are keywords of h5py.File: ``libver``, ``userblock_size``.

    For "w" the file is empty or has reserved space only; the caller removes it after an error. "r+" adds to a file,
    which an error leaves unchanged.
    """
    import h5py

    with path.open("r+b", buffering=0) as raw:
        sink = _Sink(raw, path, 0 if mode == "w" else path.stat().st_size)
        file = _run_in_thread(lambda: h5py.File(sink, mode, **form))
        try:
            try:
                yield HDF5Writer(file, sink)
            finally:
                _run_in_thread(file.close)
            sink.check()
            sink.trim()
        except BaseException:
            if mode == "r+":
                sink.undo()
            raise


def _run_in_thread(work: Callable[[], T]) -> T:
    """Run `work` in another thread, and wait for its end whatever happens meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


class _Sink:
    """A file object for h5py's fileobj driver that raises no errors.

    `error` is the first error; later pieces stay in memory, where HDF5 can read them again.
    """

    def __init__(self, file: io.FileIO, path: Path, size: int) -> None:
        self.file, self.path = file, path
        self._before, self._end, self._position = size, size, 0
        self._replaced: list[tuple[int, bytes]] = []
        self._unwritten: list[tuple[int, bytes]] = []
        self.error: BaseException | None = None

    def __repr__(self) -> str:  # h5py uses it as the file's name
        return os.fspath(self.path)

    def check(self) -> None:
        """Raise the first error, if any."""
        if self.error is not None:
            raise self.error

    def trim(self) -> None:
        """Release the reserved space that was not used."""
        self.file.truncate(self._end)

    def undo(self) -> None:
        """Restore the file's content."""
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
        """Do nothing: nothing is buffered."""
