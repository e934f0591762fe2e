"""Write an HDF5 file chunk by chunk, so that an interrupted run can be resumed.

The scripts' own loop over ``store2hdf5`` writes the file, under a hidden name next to the final one. A journal next to
it records which chunks are on the disk and at which byte. A later run for the same samples repeats the loop and copies
the values of those chunks instead of computing them. It never opens the incomplete HDF5 file, and its result equals
that of an uninterrupted run byte for byte. A note next to a finished file records its fingerprint, so that a later run
can tell that nothing is left to do.
"""

from __future__ import annotations

import json
import logging
import math
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, Self

import h5py
import numpy as np
import numpy.typing as npt

from caffe_compat_base.partial_file import sync
from matlab_ports._support.errors import PortError
from matlab_ports._support.files import require_folder, require_not_input, reserve_space
from matlab_ports.store2hdf5 import hdf5_file, store2hdf5

Array = npt.NDArray[Any]
Single = npt.NDArray[np.float32]
Chunk = tuple[int, int]  # first byte in a partial file, and number of bytes
_log = logging.getLogger(__name__)

CHECKPOINT = 1 << 28  # bytes written between two checkpoints


def _file_lock(final: Path) -> Callable[[IO[str]], None]:
    """Return the function that locks an open file until it is closed, or raises OSError if another process has it.

    Only POSIX has such locks; the rest of the package can be imported without them.
    """
    try:
        import fcntl
    except ImportError:
        problem = f"needs POSIX file locks (fcntl), which {sys.platform} lacks"
        hint = "run this on Linux or in WSL"
        raise PortError(problem, code="unsupported", file=final, hint=hint) from None
    return lambda file: fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class Journal:
    """The record of the chunks that a run has on the disk; its lock shows whether that run is still alive.

    Each line of the file is a JSON object. The first line has the fingerprint of the HDF5 file.
    """

    def __init__(self, path: Path, file: IO[str]) -> None:
        self.path, self._file = path, file
        self.data = path.with_suffix(".partial")
        self.fingerprint: object = None
        self.facts: dict[str, Any] = {}
        self.chunks: list[Chunk] = []  # on the disk

    @classmethod
    def create(cls, final: Path, fingerprint: object) -> Self:
        """Create a journal for `final`, with a unique name."""
        lock = _file_lock(final)
        path = final.with_name(f".{final.name}.{secrets.token_hex(4)}.journal")
        journal = cls(path, path.open("x+", encoding="utf-8"))
        lock(journal._file)
        journal.fingerprint = fingerprint
        journal._add([{"fingerprint": fingerprint}])
        return journal

    @classmethod
    def find(cls, final: Path) -> list[Self]:
        """Return the journals of interrupted runs for `final`; refused if another run is writing it."""
        journals: list[Self] = []
        lock = _file_lock(final)
        for path in sorted(final.parent.glob(f".{final.name}.*.journal")):
            journal = cls(path, path.open("r+", encoding="utf-8"))
            try:
                lock(journal._file)
            except OSError:
                journal.close()
                for other in journals:
                    other.close()
                problem = "another run is writing this file"
                raise PortError(problem, code="in-use", file=final, hint="wait for it or stop it") from None
            journal._read()
            journals.append(journal)
        return journals

    def _read(self) -> None:
        for line in self._file.read().split("\n")[:-1]:  # a line without its end was truncated
            try:
                entry = json.loads(line)
                if "fingerprint" in entry:
                    self.fingerprint = entry["fingerprint"]
                elif "chunk" in entry:
                    address, nbytes = entry["chunk"]
                    self.chunks.append((int(address), int(nbytes)))
                else:
                    self.facts.update(entry)
            except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
                return

    def _add(self, entries: Sequence[dict[str, Any]]) -> None:
        self._file.write("".join(json.dumps(entry) + "\n" for entry in entries))
        self._file.flush()
        os.fsync(self._file.fileno())

    def record(self, **facts: Any) -> None:
        """Record values that were computed once for the whole file."""
        self.facts.update(facts)
        self._add([facts])

    def checkpoint(self, descriptor: int, chunks: Sequence[Chunk]) -> None:
        """Flush the data to the disk, then record the chunks."""
        os.fsync(descriptor)
        self._add([{"chunk": chunk} for chunk in chunks])
        self.chunks.extend(chunks)

    def close(self) -> None:
        """Close the file, which releases its lock."""
        self._file.close()

    def remove(self) -> None:
        """Remove the run's files, the data first: a journal without data is harmless."""
        self.data.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
        self.close()


class ChunkFile:
    """An HDF5 file that is being written; see `chunk_file`.

    `facts` and `done`, a number of chunks, were recorded by the run that this one resumes. `complete`: the finished
    file exists already.
    """

    def __init__(self, final: Path, journal: Journal, previous: Journal | None, chunksz: int, *, resume: bool) -> None:
        self._final, self._journal, self._previous, self._chunksz = final, journal, previous, chunksz
        self.facts = {} if previous is None else previous.facts
        self.done = 0 if previous is None else len(previous.chunks)
        self.complete = False
        note = _read_note(final)
        if resume and note.get("fingerprint") == journal.fingerprint and note.get("file") == _file_state(final):
            self.complete, self.facts = True, note["facts"]

    def record(self, **facts: Any) -> None:
        """Record values that were computed once for the whole file."""
        self._journal.record(**facts)

    def read_chunk(self, number: int, shape: tuple[int, ...]) -> Single:
        """Return the values of chunk `number` of an interrupted run, of a shape in MATLAB's order, samples last."""
        assert self._previous is not None
        (address, nbytes), journal = self._previous.chunks[number], self._previous
        if nbytes != 4 * math.prod(shape) or not 0 <= address <= journal.data.stat().st_size - nbytes:
            problem = f"lists {nbytes} bytes at {address}, which {journal.data.name} does not hold"
            raise PortError(problem, code="damaged-file", file=journal.path, hint="run again to start over")
        return np.fromfile(journal.data, "<f4", nbytes // 4, offset=address).reshape(shape, order="F")

    def write(self, batches: Iterator[tuple[Array, Array]], size: int) -> int:
        """Append batches of one chunk each, samples last, with checkpoints; return the number of samples."""
        reserve_space(self._journal.data, size)
        totalct, unsaved = 0, 0
        unrecorded: list[Chunk] = []
        with hdf5_file(self._journal.data) as file, ThreadPoolExecutor(1) as pool:
            descriptor = file.fileno()
            syncing = pool.submit(lambda: None)
            try:
                for batchdata, batchlabs in batches:
                    startloc = {"dat": (1, 1, 1, totalct + 1), "lab": (1, totalct + 1)}
                    curr, _ = store2hdf5(file, batchdata, batchlabs, totalct == 0, startloc, self._chunksz)
                    address = file.do(partial(_chunk_address, sample=totalct))
                    unrecorded.append((address, batchdata.size * 4))
                    totalct = curr[-1]
                    unsaved += batchdata.size * 4
                    if unsaved >= CHECKPOINT and syncing.done():
                        syncing.result()
                        self._remove_previous()
                        syncing = pool.submit(self._journal.checkpoint, descriptor, unrecorded)
                        unrecorded, unsaved = [], 0
                syncing.result()
            except KeyboardInterrupt:
                syncing.result()
                self._journal.checkpoint(descriptor, unrecorded)
                raise
        return totalct

    def _remove_previous(self) -> None:
        """Remove the interrupted run's file once this run has all of its chunks on the disk."""
        if self._previous is not None and len(self._journal.chunks) >= self.done:
            self._previous.remove()
            self._previous = None

    def finish(self) -> None:
        """Give the file its final name, and leave a note of its fingerprint."""
        if not self.complete:
            note = _note_path(self._final)
            note.unlink(missing_ok=True)
            sync(self._journal.data)
            self._journal.data.replace(self._final)
            sync(self._final.parent)
            state, facts = _file_state(self._final), self._journal.facts
            content = {"file": state, "facts": facts, "fingerprint": self._journal.fingerprint}
            note.write_text(json.dumps(content), encoding="utf-8")
        self._journal.remove()
        if self._previous is not None:
            self._previous.remove()

    def discard(self) -> None:
        """Remove the files of this run and of the run that it resumes."""
        self._journal.remove()
        if self._previous is not None:
            self._previous.remove()

    def suspend(self) -> None:
        """Leave the files of whichever run has more chunks on the disk, for a later run."""
        if self._previous is None:
            self._journal.close()
            return
        less, more = sorted((self._previous, self._journal), key=lambda journal: len(journal.chunks))
        more.facts.update(less.facts)
        less.remove()
        more.close()


@contextmanager
def chunk_file(path: str | Path, fingerprint: object, chunksz: int, *, resume: bool = True) -> Iterator[ChunkFile]:
    """Write the file `path`, which gets its name when the block succeeds.

    After an interruption (Ctrl-C, a killed process, a power failure) hidden files remain: the next call with the same
    `fingerprint` (everything that determines the content, as values of JSON) resumes from them, a call with another
    fingerprint removes them. After an error nothing remains. A file that another run is writing is refused.
    """
    final = Path(path)
    require_folder(final)
    require_not_input(final)
    fingerprint = json.loads(json.dumps(fingerprint))
    journals = sorted(Journal.find(final), key=lambda journal: len(journal.chunks))
    usable = [entry for entry in journals if resume and entry.fingerprint == fingerprint and entry.data.is_file()]
    previous = usable[-1] if usable else None
    for journal in journals:
        if journal is not previous:
            journal.remove()
    file = ChunkFile(final, Journal.create(final, fingerprint), previous, chunksz, resume=resume)
    if final.exists() and not file.complete:
        _log.warning("replacing existing file %s", final)
    try:
        yield file
        file.finish()
    except KeyboardInterrupt:
        file.suspend()
        raise
    except BaseException:
        file.discard()
        raise


def _chunk_address(file: h5py.File, sample: int) -> int:
    """Return the byte at which the chunk that begins with a sample is."""
    return int(file["data"].id.get_chunk_info_by_coord((sample, 0, 0, 0)).byte_offset)


def _note_path(final: Path) -> Path:
    return final.with_name(f".{final.name}.made")


def _read_note(final: Path) -> dict[str, Any]:
    try:
        note = json.loads(_note_path(final).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return note if isinstance(note, dict) and isinstance(note.get("facts"), dict) else {}


def _file_state(path: Path) -> list[int] | None:
    """Return size and time of modification, which change when the file does."""
    if not path.is_file():
        return None
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
