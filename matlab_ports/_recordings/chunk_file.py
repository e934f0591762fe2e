"""Write an HDF5 file chunk by chunk so that an interrupted run can go on where it stopped.

The file is made by the very loop over ``store2hdf5`` that the scripts have, under a hidden name beside the final one.
A journal beside it says which chunks are on the disk and at which byte. A later run for the same samples goes through
the same loop and copies those chunks' values instead of computing them: it never opens the broken HDF5 file, and what
it makes is, byte for byte, what an uninterrupted run makes. A finished file has a note of what it was made from beside
it, so that a later run need not make it again.
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
from typing import IO, Any, NamedTuple, Self

import h5py
import numpy as np
import numpy.typing as npt

from matlab_ports._support.errors import PortError
from matlab_ports._support.partial_file import sync
from matlab_ports._support.writing import require_folder, reserve
from matlab_ports.store2hdf5 import hdf5_file, store2hdf5

Array = npt.NDArray[Any]
Single = npt.NDArray[np.float32]
_log = logging.getLogger(__name__)

CHECKPOINT = 1 << 28  # bytes written between two entries of the journal


def _lock_of(final: Path) -> Callable[[IO[str]], None]:
    """Return what locks a file for as long as this process holds it open, or raises OSError.

    POSIX alone has such locks; the rest of the package is imported without them.
    """
    try:
        import fcntl
    except ImportError:
        hint = "make it on Linux, or in WSL"
        raise PortError(f"needs POSIX file locks (fcntl), which {sys.platform} lacks", where=final, hint=hint) from None
    return lambda file: fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class Chunk(NamedTuple):
    """Where the values of one chunk lie in a partial file."""

    address: int
    nbytes: int


class Journal:
    """What a run has on the disk; its lock says whether that run still lives.

    Each line of the file is a JSON object. The first holds the fingerprint of what is made.
    """

    def __init__(self, path: Path, file: IO[str]) -> None:
        self.path, self._file = path, file
        self.data = path.with_suffix(".partial")
        self.fingerprint: object = None
        self.facts: dict[str, Any] = {}
        self.chunks: list[Chunk] = []

    @classmethod
    def create(cls, final: Path, fingerprint: object) -> Self:
        """Begin a journal for `final`, with a name of its own."""
        lock = _lock_of(final)
        path = final.with_name(f".{final.name}.{secrets.token_hex(4)}.journal")
        journal = cls(path, path.open("x+", encoding="utf-8"))
        lock(journal._file)
        journal.fingerprint = fingerprint
        journal._add([{"fingerprint": fingerprint}])
        return journal

    @classmethod
    def find(cls, final: Path) -> list[Self]:
        """The journals of runs for `final` that have ended.

        Raises
        ------
        PortError
            If a run for `final` is under way, or the platform has no locks that end with their process.
        """
        found: list[Self] = []
        lock = _lock_of(final)
        for path in sorted(final.parent.glob(f".{final.name}.*.journal")):
            journal = cls(path, path.open("r+", encoding="utf-8"))
            try:
                lock(journal._file)
            except OSError:
                journal.close()
                for other in found:
                    other.close()
                raise PortError("another run is writing it", where=final, hint="wait for it or stop it") from None
            journal._read()
            found.append(journal)
        return found

    def _read(self) -> None:
        for line in self._file.read().split("\n")[:-1]:  # what has no end was cut off
            try:
                entry = json.loads(line)
                if "fingerprint" in entry:
                    self.fingerprint = entry["fingerprint"]
                elif "chunk" in entry:
                    address, nbytes = entry["chunk"]
                    self.chunks.append(Chunk(int(address), int(nbytes)))
                else:
                    self.facts.update(entry)
            except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
                return

    def _add(self, entries: Sequence[dict[str, Any]]) -> None:
        self._file.write("".join(json.dumps(entry) + "\n" for entry in entries))
        self._file.flush()
        os.fsync(self._file.fileno())

    def note(self, **facts: Any) -> None:
        """Remember what was computed once for the whole file."""
        self.facts.update(facts)
        self._add([facts])

    def checkpoint(self, descriptor: int, chunks: Sequence[Chunk]) -> None:
        """Bring the data to the disk, then say so."""
        os.fsync(descriptor)
        self._add([{"chunk": chunk} for chunk in chunks])
        self.chunks.extend(chunks)

    def close(self) -> None:
        """Give up the lock."""
        self._file.close()

    def remove(self) -> None:
        """The run's traces, the data first: a journal without data is harmless."""
        self.data.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
        self.close()


class ChunkFile:
    """An HDF5 file in the making; see `chunk_file`.

    Attributes
    ----------
    facts
        What the run this one goes on from noted.
    done
        How many chunks that run left.
    complete
        Whether the file is there already, finished; then there is nothing to do.
    """

    def __init__(self, final: Path, journal: Journal, before: Journal | None, chunksz: int, *, resume: bool) -> None:
        self._final, self._journal, self._before, self._chunksz = final, journal, before, chunksz
        self.facts = {} if before is None else before.facts
        self.done = 0 if before is None else len(before.chunks)
        self.complete = False
        made = _read_note(final)
        if resume and made.get("fingerprint") == journal.fingerprint and made.get("file") == _state(final):
            self.complete, self.facts = True, made["facts"]

    def note(self, **facts: Any) -> None:
        """Remember what was computed once for the whole file."""
        self._journal.note(**facts)

    def left(self, number: int, shape: tuple[int, ...]) -> Single:
        """The values of a chunk that an earlier run left, read once.

        Parameters
        ----------
        number
            Below `done`.
        shape
            In MATLAB's order, samples last.
        """
        assert self._before is not None
        (address, nbytes), journal = self._before.chunks[number], self._before
        if nbytes != 4 * math.prod(shape) or not 0 <= address <= journal.data.stat().st_size - nbytes:
            problem = f"tells of {nbytes} bytes at {address}, which {journal.data.name} does not hold"
            raise PortError(problem, where=journal.path, hint="run again: the file is made anew")
        return np.fromfile(journal.data, "<f4", nbytes // 4, offset=address).reshape(shape, order="F")

    def write(self, batches: Iterator[tuple[Array, Array]], room: int) -> int:
        """The scripts' loop: store batches behind each other, checkpoint now and then.

        Parameters
        ----------
        batches
            Data and labels of one chunk each, samples last; only the last one may be shorter.
        room
            How many bytes they will take.

        Returns
        -------
        int
            The number of samples.
        """
        reserve(self._journal.data, room)
        totalct, unsaved = 0, 0
        waiting: list[Chunk] = []
        with hdf5_file(self._journal.data) as file, ThreadPoolExecutor(1) as pool:
            descriptor = file.fileno()
            syncing = pool.submit(lambda: None)
            try:
                for batchdata, batchlabs in batches:
                    startloc = {"dat": (1, 1, 1, totalct + 1), "lab": (1, totalct + 1)}
                    curr, _ = store2hdf5(file, batchdata, batchlabs, totalct == 0, startloc, self._chunksz)
                    waiting.append(Chunk(file.do(partial(_address, sample=totalct)), batchdata.size * 4))
                    totalct = curr[-1]
                    unsaved += waiting[-1].nbytes
                    if unsaved >= CHECKPOINT and syncing.done():
                        syncing.result()
                        self._overtake()
                        syncing = pool.submit(self._journal.checkpoint, descriptor, waiting)
                        waiting, unsaved = [], 0
                syncing.result()
            except KeyboardInterrupt:
                syncing.result()
                self._journal.checkpoint(descriptor, waiting)
                raise
        return totalct

    def _overtake(self) -> None:
        """Give back the room of an earlier run's file once this one has all of its chunks on the disk."""
        if self._before is not None and len(self._journal.chunks) >= self.done:
            self._before.remove()
            self._before = None

    def finish(self) -> None:
        """Give the file its name."""
        if not self.complete:
            note = _note(self._final)
            note.unlink(missing_ok=True)
            sync(self._journal.data)
            self._journal.data.replace(self._final)
            sync(self._final.parent)
            made = {"file": _state(self._final), "facts": self._journal.facts, "fingerprint": self._journal.fingerprint}
            note.write_text(json.dumps(made), encoding="utf-8")
        self._journal.remove()
        if self._before is not None:
            self._before.remove()

    def drop(self) -> None:
        """Nothing remains of this run nor of the one before it."""
        self._journal.remove()
        if self._before is not None:
            self._before.remove()

    def keep(self) -> None:
        """Leave whichever run has more on the disk for a later one."""
        if self._before is None:
            self._journal.close()
            return
        less, more = sorted((self._before, self._journal), key=lambda journal: len(journal.chunks))
        more.facts.update(less.facts)
        less.remove()
        more.close()


@contextmanager
def chunk_file(path: str | Path, fingerprint: object, chunksz: int, *, resume: bool = True) -> Iterator[ChunkFile]:
    """Make the file `path`: it gets its name when the block ends well.

    After an interruption (Ctrl-C, the process killed, the machine down) hidden files remain, from which the next call
    with the same `fingerprint` goes on; one with another fingerprint removes them. After an error nothing remains.

    Parameters
    ----------
    path
        The file, in a folder that exists.
    fingerprint
        All that decides the file's content; it must survive JSON.
    chunksz
        Samples per chunk.
    resume
        Whether to go on from an earlier run.

    Raises
    ------
    PortError
        If it cannot be written, or another run is writing it.
    """
    final = Path(path)
    require_folder(final)
    fingerprint = json.loads(json.dumps(fingerprint))
    left = sorted(Journal.find(final), key=lambda journal: len(journal.chunks))
    usable = [one for one in left if resume and one.fingerprint == fingerprint and one.data.is_file()]
    before = usable[-1] if usable else None
    for journal in left:
        if journal is not before:
            journal.remove()
    made = ChunkFile(final, Journal.create(final, fingerprint), before, chunksz, resume=resume)
    if final.exists() and not made.complete:
        _log.warning("replacing existing file %s", final)
    try:
        yield made
        made.finish()
    except KeyboardInterrupt:
        made.keep()
        raise
    except BaseException:
        made.drop()
        raise


def _address(file: h5py.File, sample: int) -> int:
    """The byte at which the chunk with a sample begins."""
    return int(file["data"].id.get_chunk_info_by_coord((sample, 0, 0, 0)).byte_offset)


def _note(final: Path) -> Path:
    return final.with_name(f".{final.name}.made")


def _read_note(final: Path) -> dict[str, Any]:
    try:
        note = json.loads(_note(final).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return note if isinstance(note, dict) and isinstance(note.get("facts"), dict) else {}


def _state(path: Path) -> list[int] | None:
    """What changes when a file does."""
    if not path.is_file():
        return None
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
