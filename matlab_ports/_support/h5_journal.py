"""What a run that makes an HDF5 file has on the disk, so that a later run can use it."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

from matlab_ports._support.errors import PortError


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
