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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from matlab_ports._support.errors import PortError
from matlab_ports._support.h5_journal import Chunk, Journal
from matlab_ports._support.partial_file import sync
from matlab_ports.store2hdf5 import hdf5_file, require_folder, reserve, store2hdf5

Array = npt.NDArray[Any]
Single = npt.NDArray[np.float32]
_log = logging.getLogger(__name__)

CHECKPOINT = 1 << 28  # bytes written between two entries of the journal


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
