"""Workers, which run stages: this process, or several processes of this machine; and files that others wrote."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from lq_emotion.common.processes import Processes, WorkerLostError, pools

PATIENCE = 60.0
"""Seconds in which a file appears on another machine: as long as NFS keeps what it knows of a folder."""


class Workers(Protocol):
    """Run stages, each worker one at a time."""

    def idle(self) -> list[str]:
        """Return the workers that run nothing: their names for the user, empty where there is only one machine."""

    def begin(self, worker: str, name: str, run: Callable[[], None], reads: tuple[Path, ...]) -> None:
        """Begin a stage on a worker."""

    def ended(self) -> list[tuple[str, BaseException | None]]:
        """Wait a moment, and return which stages ended: their names and errors; `WorkerLostError` if lost."""


class ThisProcess:
    """Runs stages here; their errors are raised at once."""

    def __init__(self) -> None:
        self._ended: list[tuple[str, BaseException | None]] = []

    def idle(self) -> list[str]:
        """Return the one worker."""
        return [""]

    def begin(self, worker: str, name: str, run: Callable[[], None], reads: tuple[Path, ...]) -> None:  # noqa: ARG002
        """Do a stage."""
        run()
        self._ended.append((name, None))

    def ended(self) -> list[tuple[str, BaseException | None]]:
        """Return the stages that were done since."""
        ended, self._ended = self._ended, []
        return ended


class LocalProcesses:
    """Runs stages in a number of processes of their own; a process that is lost is replaced."""

    def __init__(self, jobs: int, start: Callable[[int], Processes]) -> None:
        self._start = start
        self._idle = [start(1) for _ in range(jobs)]
        self._running: dict[Future[None], tuple[str, Processes]] = {}

    def idle(self) -> list[str]:
        """Return a nameless worker for each process that runs nothing."""
        return [""] * len(self._idle)

    def begin(self, worker: str, name: str, run: Callable[[], None], reads: tuple[Path, ...]) -> None:  # noqa: ARG002
        """Begin a stage in the process that has waited longest."""
        process = self._idle.pop(0)
        self._running[process.submit(run)] = name, process

    def ended(self) -> list[tuple[str, BaseException | None]]:
        """Wait until a stage ends."""
        ended = []
        for future in wait(self._running, return_when=FIRST_COMPLETED).done:
            name, process = self._running.pop(future)
            error = future.exception()
            if isinstance(error, BrokenProcessPool):
                error, process = WorkerLostError("its process was lost", code="worker-lost"), self._start(1)
            self._idle.append(process)
            ended.append((name, error))
        return ended


@contextmanager
def local_workers(jobs: int) -> Iterator[Workers]:
    """Return what runs `jobs` stages at once; in this process if it is one."""
    if jobs == 1:
        yield ThisProcess()
    else:
        with pools(jobs) as start:
            yield LocalProcesses(jobs, start)


def unseen(sizes: Mapping[Path, int | None], patience: float = 0.0) -> Path | None:
    """Return the first file that is not there with its size in bytes (None: any) after `patience` seconds."""
    end = time.monotonic() + patience
    for path, size in sizes.items():
        while not _is_seen(path, size):
            if time.monotonic() >= end:
                return path
            time.sleep(0.1)
    return None


def _is_seen(path: Path, size: int | None) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:  # on NFS, what is known of a file is refreshed when it is opened
        return size is None or file.seek(0, 2) == size
