"""Run tasks in parallel, in processes that end with the work and with their parent.

The parent holds the only writing end of a pipe. When the parent ends, however it ends, the pipe closes on every
platform; the processes then drop their tasks, which clean up as after Ctrl-C, and end a few seconds later in any case.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any, ParamSpec, TypeVar

from caffe_compat.errors import CaffeCompatError

_P = ParamSpec("_P")
_R = TypeVar("_R")

# Seconds in which a dropped task can clean up: a training takes a snapshot.
_GRACE = 5.0
# Numerical libraries read these for their number of threads when they are loaded.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class WorkerLostError(CaffeCompatError):
    """A process ended before its work was done."""


class Processes(ProcessPoolExecutor):
    """A pool of processes, made by `processes` or `pools`."""

    def submit(self, fn: Callable[_P, _R], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_R]:
        """Begin a task as soon as a process is free; functions, arguments and results are pickled."""
        return super().submit(_perform, fn, args, kwargs)


@contextmanager
def pools(jobs: int) -> Iterator[Callable[[int], Processes]]:
    """Yield a function that starts a pool of some size; all pools end with the context, and share the processor.

    If the context is left with an error, running tasks are dropped. Scripts need the usual
    ``if __name__ == "__main__":``, because the processes import them.
    """
    context = multiprocessing.get_context("spawn")
    reading, writing = context.Pipe(duplex=False)
    threads = max((os.cpu_count() or 1) // jobs, 1)
    started: list[Processes] = []

    def start(size: int) -> Processes:
        started.append(Processes(size, context, initializer=_begin, initargs=(reading, threads)))
        return started[-1]

    try:
        yield start
        for pool in started:
            pool.shutdown()
    finally:
        writing.close()
        for pool in started:
            pool.shutdown(cancel_futures=True)
        reading.close()


@contextmanager
def processes(jobs: int) -> Iterator[Processes]:
    """Start up to `jobs` processes for as long as the context lasts; see `pools`."""
    with pools(jobs) as start:
        try:
            yield start(jobs)
        except BrokenProcessPool:
            problem, hint = "a process was lost, perhaps because memory ran out", "fewer --jobs need less memory"
            raise WorkerLostError(problem, code="worker-lost", field="--jobs", value=jobs, hint=hint) from None


def as_done(jobs: int, task: Callable[..., _R], arguments: Iterable[tuple[Any, ...]]) -> Generator[_R]:
    """Yield the results of a task for several arguments in the order of completion, `jobs` at a time."""
    with processes(jobs) as workers:
        for future in as_completed([workers.submit(task, *values) for values in arguments]):
            yield future.result()


_busy = False
_ending = threading.Event()


def _begin(parent: Connection, threads: int) -> None:
    """Prepare a process for its tasks, before any of them imports anything."""
    for name in _THREADS:
        os.environ.setdefault(name, str(threads))
    signal.signal(signal.SIGINT, _interrupt)
    threading.Thread(target=_watch, args=(parent,), name="parent", daemon=True).start()


def _watch(parent: Connection) -> None:
    """End the process once no process has the other end of the pipe."""
    try:
        parent.recv_bytes()
    except (EOFError, OSError):
        _ending.set()
    if _busy:
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait(_GRACE)
    os._exit(1)


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    _ending.set()
    if not _busy:
        os._exit(130)
    raise KeyboardInterrupt


def _perform(task: Callable[..., _R], args: tuple[Any, ...], options: dict[str, Any]) -> _R:
    global _busy  # noqa: PLW0603  (of this process)
    _busy = True
    try:
        return task(*args, **options)
    finally:
        _busy = False
        if _ending.is_set():
            os._exit(1)
