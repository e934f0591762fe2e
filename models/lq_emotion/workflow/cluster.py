"""Stages on the workers of a Dask cluster, each worker one at a time.

A worker does a stage in a process of its own, as a local job does. The process ends when the stage is no longer wanted
(the main process was interrupted or killed), when the worker ends, and when the worker loses the scheduler. Beside
that, a stage holds a lease of the scheduler while it runs, without which it cannot begin elsewhere: the lease of a
worker that is lost runs out half a minute later (``distributed.scheduler.locks.lease-timeout``).
"""

from __future__ import annotations

import multiprocessing
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from caffe_compat.errors import DataError, FileError
from lq_emotion.common.fingerprints import versions
from lq_emotion.common.jobs import connect
from lq_emotion.common.processes import WorkerLostError, pools
from lq_emotion.common.progress import Say
from lq_emotion.workflow.workers import PATIENCE, Workers, unseen

_MOMENT = 0.25  # seconds between looks at what has changed


def sight(probe: Path, sizes: Mapping[Path, int]) -> tuple[str, dict[str, str | None], str | None, Path | None]:
    """Return host, versions, text of the probe (None without) and first file unseen with its size, of this machine.

    It is called on every worker before it gets a stage.
    """
    text = probe.read_text(encoding="utf-8") if probe.is_file() else None
    return socket.gethostname(), versions(), text, unseen(sizes)


class ClusterWorkers:
    """Runs stages on a Dask cluster. Workers may join and leave at any time.

    A worker that does not see `root`, a folder of this study alone that all machines share, or the files `inputs`, or
    that has other versions, is a DataError; the loss of the scheduler a WorkerLostError.
    """

    def __init__(self, client: Any, root: Path, inputs: Sequence[Path], say: Say) -> None:
        self._client, self._root, self._say = client, root, say
        self._sizes = {path: path.stat().st_size for path in inputs}
        self._usable: dict[str, bool] = {}
        self._idle: list[str] = []
        self._running: dict[str, tuple[Any, str]] = {}
        self._waiting = False
        for worker in self._present():
            self._admit(worker)

    def idle(self) -> list[str]:
        """Return the addresses of the workers that run nothing, without their protocol; say what joined and left."""
        present = self._present()
        for worker in present:
            if worker not in self._usable:
                try:
                    self._admit(worker)
                except DataError as error:
                    self._say(f"not used: {error}")
        for worker in set(self._usable).difference(present):
            del self._usable[worker]
        busy = {worker for _, worker in self._running.values()}
        self._idle = [worker for worker, usable in self._usable.items() if usable and worker not in busy]
        waiting = not self._idle and not busy
        if waiting and not self._waiting:
            self._say("waiting for a worker")
        self._waiting = waiting
        return [_place(worker) for worker in self._idle]

    def begin(self, worker: str, name: str, run: Callable[[], None], reads: tuple[Path, ...]) -> None:
        """Begin a stage on a worker."""
        address = next(idle for idle in self._idle if _place(idle) == worker)
        self._usable[address] = self._usable.pop(address)  # the one that has waited longest is the first
        sizes = {path: path.stat().st_size for path in reads}
        lease = f"{self._root}: {name}"
        task = self._client.submit(
            do_stage, run, lease, sizes, PATIENCE, key=f"{name}-{uuid.uuid4().hex}", pure=False,
            workers=[address], allow_other_workers=False, retries=0,
        )  # fmt: skip
        self._running[name] = task, address

    def ended(self) -> list[tuple[str, BaseException | None]]:
        """Wait a moment, and return which stages ended."""
        time.sleep(_MOMENT)
        present = self._present()
        ended = []
        for name, (task, worker) in list(self._running.items()):
            if task.done() or worker not in present:
                del self._running[name]
                ended.append((name, _error(task, worker)))
        return ended

    def drop(self) -> None:
        """Drop what runs."""
        self._client.cancel([task for task, _ in self._running.values()])

    def _present(self) -> list[str]:
        try:
            return list(self._client.nthreads())
        except (OSError, TimeoutError, RuntimeError) as error:
            hint = "start it and its workers, and the same command goes on"
            problem = f"the Dask scheduler was lost: {error}"
            raise WorkerLostError(problem, code="worker-lost", field="--cluster", hint=hint) from None

    def _admit(self, worker: str) -> None:
        """Use a worker from now on, if it is fit for it."""
        self._usable[worker] = False
        text = uuid.uuid4().hex
        probe = self._root / f".probe-{text}"
        probe.write_text(text, encoding="utf-8")
        try:
            seen = self._client.run(sight, probe, self._sizes, workers=[worker])[worker]
        except (OSError, TimeoutError, KeyError):
            del self._usable[worker]  # gone already
            return
        except Exception as error:  # noqa: BLE001  (Dask raises a bare one where the package is missing)
            raise _refused(worker, f"it cannot run stages: {error}", "install the same packages there") from None
        finally:
            probe.unlink()
        host, theirs, probed, missing = seen
        problem = hint = None
        if probed != text:
            problem, hint = f"does not see the folder {self._root}", "use a folder that all machines share"
        elif missing is not None:
            problem, hint = f"does not see the file {missing}", "use recordings that all machines share"
        elif differences := [
            f"{name} {theirs.get(name)}, here {version}"
            for name, version in versions().items()
            if theirs.get(name) != version
        ]:
            problem, hint = f"has {'; '.join(differences)}", "install the same versions there"
        if problem:
            raise _refused(worker, f"{host} {problem}", hint)
        self._usable[worker] = True


def _place(worker: str) -> str:
    """Return host:port of a worker's address."""
    return worker.rpartition("://")[2]


def _refused(worker: str, problem: str, hint: str | None) -> DataError:
    return DataError(problem, code="mismatch", field="--cluster", value=_place(worker), hint=hint)


def _error(task: Any, worker: str) -> BaseException | None:
    """Return the error with which a stage ended; `WorkerLostError` if it did not end."""
    from distributed import KilledWorker

    error = task.exception() if task.status == "error" else None
    if task.status == "finished" or (error is not None and not isinstance(error, KilledWorker)):
        return error
    task.cancel()
    return WorkerLostError(f"worker {_place(worker)} was lost", code="worker-lost")


@contextmanager
def cluster_workers(address: str, root: Path, inputs: Sequence[Path], say: Say) -> Iterator[Workers]:
    """Yield what runs stages on a Dask cluster; stages that run are dropped if the context is left with an error."""
    with connect(address) as client:
        workers = ClusterWorkers(client, root, inputs, say)
        try:
            yield workers
        finally:
            workers.drop()


def do_stage(run: Callable[[], None], lease: str, sizes: Mapping[Path, int], patience: float) -> None:
    """Do a stage on a worker that has the lease, once the files that it reads have their sizes in bytes."""
    from distributed import Semaphore, Status, get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def wanted() -> bool:
        task = worker.state.tasks.get(key)
        ended = worker.status in (Status.closing, Status.closed, Status.failed)
        return task is not None and task.state == "executing" and not ended

    multiprocessing.current_process().daemon = False  # a nanny's worker is one, and could have no processes
    semaphore = Semaphore(max_leases=1, name=lease)  # type: ignore[no-untyped-call]
    while not semaphore.acquire(timeout=1):  # type: ignore[no-untyped-call]
        _require(wanted())
    try:
        missing = unseen(sizes, patience)
        if missing is not None:
            problem = f"not seen on {socket.gethostname()} as it was written"
            raise FileError(problem, code="file-missing", file=missing, hint="use a folder that all machines share")
        with pools(1) as start:
            future = start(1).submit(run)
            while not wait([future], _MOMENT).done:
                _require(wanted())
            future.result()
    except BrokenProcessPool:
        raise WorkerLostError(f"its process on {socket.gethostname()} was lost", code="worker-lost") from None
    finally:
        semaphore.release()  # type: ignore[no-untyped-call]


class _DroppedError(Exception):
    """The stage is no longer wanted: no one sees this."""


def _require(wanted: bool) -> None:  # noqa: FBT001
    if not wanted:
        raise _DroppedError
