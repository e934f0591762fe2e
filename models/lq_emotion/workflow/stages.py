"""Work done in stages: what is done and unchanged is skipped, what was killed goes on, what depends on it follows.

A stage is done when the ledger holds its fingerprint: a hash of its settings and of the contents of everything it
reads. So a file that is written again with the same bytes costs nothing downstream, a changed one just what it must.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from caffe_compat.errors import CaffeCompatError, FileError
from lq_emotion.common.json_files import contents_of, read_json, write_json
from lq_emotion.common.processes import Processes, processes
from matlab_ports import PortError

Say = Callable[[str], None]


@dataclass(frozen=True)
class Stage:
    """A piece of work.

    Attributes
    ----------
    name : unique; what users see.
    run : does the work, going on where it was killed; with several jobs it is called in another process.
    settings : all that decides the result besides what is read; JSON.
    reads, writes : files. What another stage writes and this one reads makes this one wait for it.
    training : what is trained, for an estimate of its time.
    """

    name: str
    run: Callable[[], None]
    settings: Mapping[str, Any]
    reads: tuple[Path, ...] = ()
    writes: tuple[Path, ...] = ()
    training: object | None = None


@dataclass
class Ledger:
    """What was done with what, in a JSON file; hashes of files are kept as long as their size and times stay.

    Attributes
    ----------
    path : of the file.
    """

    path: Path
    _done: dict[str, dict[str, Any]] = field(default_factory=dict)
    _hashes: dict[str, list[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        found = read_json(self.path)
        if found is None:
            return
        with contents_of(self.path, "remove it, and all stages are checked"):
            for name, entry in found["done"].items():
                done = {"fingerprint": str(entry["fingerprint"]), "writes": dict(entry["writes"])}
                self._done[name] = {**done, "seconds": float(entry["seconds"])}
            for name, (size, changed, sha256) in found["hashes"].items():
                self._hashes[name] = [int(size), int(changed), str(sha256)]

    def fingerprint(self, stage: Stage) -> str:
        """Return the hash of all that decides what a stage writes."""
        told = {"settings": stage.settings, "reads": {str(path): self.hash(path) for path in stage.reads}}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def hash(self, path: Path) -> str:
        """Return the SHA-256 of a file.

        Raises
        ------
        FileError
            There is none.
        """
        try:
            status = path.stat()
        except OSError:
            raise FileError("no such file", file=path) from None
        stamp = [status.st_size, status.st_mtime_ns]
        known = self._hashes.get(str(path))
        if known is None or known[:2] != stamp:
            with path.open("rb") as file:
                known = [*stamp, hashlib.file_digest(file, "sha256").hexdigest()]
            self._hashes[str(path)] = known
        return str(known[2])

    def is_done(self, stage: Stage) -> bool:
        """Whether a stage has nothing to do: settings and files read as then, what it wrote unchanged."""
        entry = self._done.get(stage.name)
        if entry is None or not all(path.is_file() for path in (*stage.reads, *stage.writes)):
            return False
        written = {str(path): self.hash(path) for path in stage.writes}
        return bool(entry["writes"] == written and entry["fingerprint"] == self.fingerprint(stage))

    def note(self, stage: Stage, fingerprint: str, seconds: float) -> None:
        """Write down that a stage is done."""
        missing = [path for path in stage.writes if not path.is_file()]
        if missing:
            raise FileError(f"stage {stage.name!r} ended without writing it", file=missing[0])
        written = {str(path): self.hash(path) for path in stage.writes}
        entry = {"fingerprint": fingerprint, "writes": written, "seconds": round(seconds, 2)}
        self._done[stage.name] = entry
        write_json({"done": self._done, "hashes": self._hashes}, self.path)

    def seconds(self, name: str) -> float | None:
        """Return how long a stage took when it was last done."""
        return self._done[name]["seconds"] if name in self._done else None


def perform(stages: Sequence[Stage], ledger: Ledger, *, jobs: int = 1, say: Say = print) -> list[str]:
    """Do what is missing, several stages at once if asked, and return the names of those that were run.

    Raises
    ------
    CaffeCompatError
        The first failure; stages that do not depend on it are finished first. A process that is lost ends them all.
    """
    waits = _dependencies(stages)
    todo = {stage.name: stage for stage in stages}
    done: set[str] = set()
    failed: list[BaseException] = []
    ran: list[str] = []
    running: dict[Future[float], tuple[Stage, str]] = {}
    with processes(jobs) if jobs > 1 else nullcontext() as pool:
        while todo or running:
            ready = [stage for stage in todo.values() if waits[stage.name] <= done][: max(jobs - len(running), 0)]
            if not ready and not running:
                break  # what is left waits for what failed
            for stage in ready:
                del todo[stage.name]
                if ledger.is_done(stage):
                    say(f"{stage.name}: done before")
                    done.add(stage.name)
                    continue
                fingerprint = ledger.fingerprint(stage)
                say(f"{stage.name}: begins")
                ran.append(stage.name)
                running[_started(stage, pool)] = stage, fingerprint
            for future in wait(running, return_when=FIRST_COMPLETED).done if running else ():
                stage, fingerprint = running.pop(future)
                error = future.exception()
                if error is None:
                    ledger.note(stage, fingerprint, future.result())
                    done.add(stage.name)
                    say(f"{stage.name}: done in {future.result():.1f} s")
                elif pool and isinstance(error, CaffeCompatError | PortError | OSError):
                    say(f"{stage.name}: failed: {error}")
                    failed.append(error)
                else:
                    raise error
    if failed:
        raise failed[0]
    return ran


def _dependencies(stages: Sequence[Stage]) -> dict[str, set[str]]:
    """Name the stages each one waits for."""
    writers: dict[Path, str] = {}
    for stage in stages:
        for path in stage.writes:
            assert path not in writers, f"{path} is written by {writers[path]} and {stage.name}"
            writers[path] = stage.name
    assert len({stage.name for stage in stages}) == len(stages), "names are unique"
    return {stage.name: {writers[path] for path in stage.reads if path in writers} for stage in stages}


def _started(stage: Stage, pool: Processes | None) -> Future[float]:
    if pool:
        return pool.submit(_timed, stage.run)
    future: Future[float] = Future()
    try:
        future.set_result(_timed(stage.run))
    except BaseException as error:  # noqa: BLE001  (handed on)
        future.set_exception(error)
    return future


def _timed(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
