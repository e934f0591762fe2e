"""Run stages of work, each once: a finished stage is skipped, a killed one continued, and those that need it wait.

A stage is done when its fingerprint is in the ledger: a hash of its settings and of the contents of every file it
reads. So a file that is written again with the same bytes costs nothing downstream, and a changed file causes only the
work that depends on it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from caffe_compat.errors import CaffeCompatError, FileError
from lq_emotion.common.fingerprints import file_sha256, fingerprint
from lq_emotion.common.journal import Journal
from lq_emotion.common.json_files import contents_of
from lq_emotion.common.processes import WorkerLostError
from lq_emotion.common.progress import Say
from lq_emotion.workflow.workers import PATIENCE, Workers, local_workers, unseen

CostT = TypeVar("CostT")
AGAIN = 3
"""Times that a stage whose worker was lost runs again."""
_HINT = "remove it, and all stages are checked"


@dataclass(frozen=True)
class Stage(Generic[CostT]):
    """A piece of work; its name is unique. A stage that reads what another stage writes waits for it."""

    name: str
    run: Callable[..., None]
    """Does the work, and continues what was killed; takes what adds a line to the stage's log, if a `Study` runs it."""
    settings: Mapping[str, Any]
    """Everything that decides the result besides the files it reads; JSON."""
    reads: tuple[Path, ...] = ()
    writes: tuple[Path, ...] = ()
    cost: CostT | None = None
    """What a study estimates the stage's time from; None for stages that take little time."""


class Ledger:
    """A JSON file that records which stages are done, from what."""

    def __init__(self, path: Path) -> None:
        self._journal = Journal(path, root=path.parent, hint=_HINT)

    def fingerprint(self, stage: Stage[Any]) -> str:
        """Return the hash of everything that decides what a stage writes."""
        reads = {self._name(path): file_sha256(path) for path in stage.reads}
        writes = [self._name(path) for path in stage.writes]
        return fingerprint({"settings": stage.settings, "reads": reads, "writes": writes})

    def _name(self, path: Path) -> str:
        """Return the name of a file, which stays the same where the folder is moved."""
        return path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else str(path)

    def require_own(self, paths: Iterable[Path], maker: str) -> None:
        """Refuse files that exist and were not claimed."""
        claimed = self._claimed()
        foreign = next((path for path in paths if self._name(path) not in claimed and path.exists()), None)
        if foreign is not None:
            problem, hint = f"exists, and no run of {maker} wrote it", "move it away, or choose another folder: --out"
            raise FileError(problem, code="foreign-files", file=foreign, hint=hint)

    def claim(self, paths: Sequence[Path], maker: str) -> None:
        """Note which files will be written, on the disk before it returns; refuse those of someone else."""
        self.require_own(paths, maker)
        claimed = self._claimed()
        names = claimed | {self._name(path) for path in paths}
        if names != claimed or not self._journal.exists:
            self._journal.details["claimed"] = sorted(names)
            self._journal.write()

    def _claimed(self) -> set[str]:
        with contents_of(self._journal.path, _HINT):
            return {Path(name).as_posix() for name in self._journal.details.get("claimed", [])}

    def is_done(self, stage: Stage[Any]) -> bool:
        """Tell whether a stage has nothing to do: settings, inputs and outputs are as they were."""
        readable = all(path.is_file() for path in stage.reads)
        return readable and self._journal.is_done(stage.name, self.fingerprint(stage))

    @property
    def folder(self) -> Path:
        """The folder of the journal."""
        return self._journal.path.parent

    def note(self, stage: Stage[Any], fingerprint: str, seconds: float, *, patience: float = 0.0) -> None:
        """Write down that a stage is done; its files may appear within `patience` seconds."""
        missing = unseen(dict.fromkeys(stage.writes), patience)
        if missing is not None:
            problem = f"stage {stage.name!r} ended without writing it"
            raise FileError(problem, code="file-missing", file=missing, field=stage.name)
        self._journal.note(stage.name, fingerprint, stage.writes, seconds=round(seconds, 2))

    def seconds(self, name: str) -> float | None:
        """Return how long a stage took when it was last done."""
        with contents_of(self._journal.path, _HINT):
            entry = self._journal.entry(name)
            return float(entry["seconds"]) if entry else None


def perform(
    stages: Sequence[Stage[Any]], ledger: Ledger, *, jobs: int = 1, cluster: str | None = None, say: Say = print
) -> list[str]:
    """Run the stages that are not done, and return their names.

    `jobs` stages run at a time, or the workers of a Dask scheduler such as ``tcp://host:8786`` run them. A worker that
    is lost costs its stage only, which runs again up to `AGAIN` times. The first failure is raised; with several jobs
    or a cluster, stages that do not depend on it are finished first.
    """
    order = _Order(stages, ledger, say, patience=0.0 if cluster is None else PATIENCE)
    with local_workers(jobs) if cluster is None else _remote(cluster, stages, ledger, say) as workers:
        while order.todo or order.running:
            for worker in workers.idle():
                stage = order.following()
                if stage is None:
                    break
                order.begins(stage, worker)
                workers.begin(worker, stage.name, stage.run, stage.reads)
            if not order.running and not order.waiting:
                break  # the others wait for a stage that failed
            for name, error in workers.ended():
                order.ends(name, error)
    if order.failed:
        raise order.failed[0]
    return order.ran


def _remote(cluster: str, stages: Sequence[Stage[Any]], ledger: Ledger, say: Say) -> AbstractContextManager[Workers]:
    from lq_emotion.workflow.cluster import cluster_workers

    written = {path for stage in stages for path in stage.writes}
    inputs = sorted({path for stage in stages for path in stage.reads if path not in written and path.is_file()})
    return cluster_workers(cluster, ledger.folder, inputs, say)


class _Order:
    """The order of the stages: waiting, running, done."""

    def __init__(self, stages: Sequence[Stage[Any]], ledger: Ledger, say: Say, *, patience: float) -> None:
        self._ledger, self._say, self._patience = ledger, say, patience
        self._waits = _dependencies(stages)
        self._done: set[str] = set()
        self._losses: Counter[str] = Counter()
        self.todo = {stage.name: stage for stage in stages}
        self.running: dict[str, tuple[Stage[Any], str, float]] = {}
        self.ran: list[str] = []
        self.failed: list[BaseException] = []

    def following(self) -> Stage[Any] | None:
        """Return a stage that can begin; those done before are left out."""
        while stage := next((stage for stage in self.todo.values() if self._waits[stage.name] <= self._done), None):
            if not self._ledger.is_done(stage):
                return stage
            del self.todo[stage.name]
            self._done.add(stage.name)
            self._say(f"{stage.name}: done before")
        return None

    @property
    def waiting(self) -> bool:
        """Whether a stage could begin, had it a worker."""
        return any(self._waits[name] <= self._done for name in self.todo)

    def begins(self, stage: Stage[Any], worker: str) -> None:
        """Note that a stage begins."""
        self._say(f"{stage.name}: begins{worker and f' on {worker}'}")
        if stage.name not in self.ran:
            self.ran.append(stage.name)
        del self.todo[stage.name]
        self.running[stage.name] = stage, self._ledger.fingerprint(stage), time.perf_counter()

    def ends(self, name: str, error: BaseException | None) -> None:
        """Note that a stage ended, with an error or without."""
        stage, fingerprint, began = self.running.pop(name)
        if error is None:
            seconds = time.perf_counter() - began
            self._ledger.note(stage, fingerprint, seconds, patience=self._patience)
            self._done.add(name)
            self._say(f"{name}: done in {seconds:.1f} s")
        elif isinstance(error, WorkerLostError) and self._losses[name] < AGAIN:
            self._losses[name] += 1
            self._say(f"{name}: {error}; it runs again")
            self.todo = {name: stage, **self.todo}
        elif isinstance(error, CaffeCompatError | OSError):
            if isinstance(error, WorkerLostError):
                error = _given_up(name)
            self._say(f"{name}: failed: {error}")
            self.failed.append(error)
        else:
            raise error


def _given_up(name: str) -> WorkerLostError:
    problem = f"stage {name!r} lost its worker {AGAIN + 1} times"
    hint = "perhaps memory or time ran out; the same command goes on from here"
    return WorkerLostError(problem, code="worker-lost", value=name, hint=hint)


def _dependencies(stages: Sequence[Stage[Any]]) -> dict[str, set[str]]:
    """Return the stages that each stage waits for."""
    writers: dict[Path, str] = {}
    for stage in stages:
        for path in stage.writes:
            assert path not in writers, f"{path} is written by {writers[path]} and {stage.name}"
            writers[path] = stage.name
    assert len({stage.name for stage in stages}) == len(stages), "names are unique"
    return {stage.name: {writers[path] for path in stage.reads if path in writers} for stage in stages}
