"""Run stages of work, each once: a finished stage is skipped, a killed one continued, and those that need it wait.

A stage is done when the ledger holds its fingerprint: a hash of its settings and of the contents of every file it
reads. So a file that is written again with the same bytes costs nothing downstream, and a changed file causes only the
work that depends on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from caffe_compat.errors import CaffeCompatError, FileError
from lq_emotion.common.fingerprints import FileHashes, fingerprint
from lq_emotion.common.journal import Journal
from lq_emotion.common.json_files import contents_of
from lq_emotion.common.processes import Processes, processes
from matlab_ports import PortError

Say = Callable[[str], None]
CostT = TypeVar("CostT")
_HINT = "remove it, and all stages are checked"


@dataclass(frozen=True)
class Stage(Generic[CostT]):
    """A piece of work.

    Attributes
    ----------
    name : unique; what users see.
    run : does the work and continues what was killed; with several jobs it is called in another process.
    settings : everything that decides the result besides the files it reads; JSON.
    reads, writes : files. A stage that reads what another stage writes waits for it.
    cost : what a study estimates the stage's time from; None for stages that take little time.
    """

    name: str
    run: Callable[[], None]
    settings: Mapping[str, Any]
    reads: tuple[Path, ...] = ()
    writes: tuple[Path, ...] = ()
    cost: CostT | None = None


class Ledger:
    """Which stages are done, from what: a journal that identifies files by their contents.

    Parameters
    ----------
    path : the JSON file.

    Raises
    ------
    FileError
        The file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._journal = Journal(path, identify=self.hash, hint=_HINT)
        with contents_of(path, _HINT):
            self._hashes = FileHashes(self._journal.details.get("hashes"))

    def fingerprint(self, stage: Stage[Any]) -> str:
        """Return the hash of everything that decides what a stage writes."""
        reads = {str(path): self.hash(path) for path in stage.reads}
        return fingerprint({"settings": stage.settings, "reads": reads, "writes": [str(path) for path in stage.writes]})

    def hash(self, path: Path) -> str:
        """Return the SHA-256 of a file.

        Raises
        ------
        FileError
            The file is missing.
        """
        return self._hashes(path)

    def is_done(self, stage: Stage[Any]) -> bool:
        """Tell whether a stage has nothing to do: settings, inputs and outputs are as they were."""
        readable = all(path.is_file() for path in stage.reads)
        return readable and self._journal.is_done(stage.name, self.fingerprint(stage))

    def note(self, stage: Stage[Any], fingerprint: str, seconds: float) -> None:
        """Write down that a stage is done."""
        missing = [path for path in stage.writes if not path.is_file()]
        if missing:
            problem = f"stage {stage.name!r} ended without writing it"
            raise FileError(problem, code="file-missing", file=missing[0], field=stage.name)
        for path in stage.writes:
            self.hash(path)
        self._journal.details["hashes"] = self._hashes.to_json()
        self._journal.note(stage.name, fingerprint, stage.writes, seconds=round(seconds, 2))

    def seconds(self, name: str) -> float | None:
        """Return how long a stage took when it was last done."""
        with contents_of(self._journal.path, _HINT):
            entry = self._journal.entry(name)
            return float(entry["seconds"]) if entry else None


def perform(stages: Sequence[Stage[Any]], ledger: Ledger, *, jobs: int = 1, say: Say = print) -> list[str]:
    """Run the stages that are not done, up to `jobs` at once, and return their names.

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
    running: dict[Future[float], tuple[Stage[Any], str]] = {}
    with processes(jobs) if jobs > 1 else nullcontext() as pool:
        while todo or running:
            ready = [stage for stage in todo.values() if waits[stage.name] <= done][: max(jobs - len(running), 0)]
            if not ready and not running:
                break  # the others wait for a stage that failed
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


def _dependencies(stages: Sequence[Stage[Any]]) -> dict[str, set[str]]:
    """Return the stages that each stage waits for."""
    writers: dict[Path, str] = {}
    for stage in stages:
        for path in stage.writes:
            assert path not in writers, f"{path} is written by {writers[path]} and {stage.name}"
            writers[path] = stage.name
    assert len({stage.name for stage in stages}) == len(stages), "names are unique"
    return {stage.name: {writers[path] for path in stage.reads if path in writers} for stage in stages}


def _started(stage: Stage[Any], pool: Processes | None) -> Future[float]:
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
