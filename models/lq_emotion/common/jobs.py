"""One piece of work for each of many items: one after the other, in processes of this machine, or on a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from tqdm import tqdm

from caffe_compat.errors import CaffeCompatError, DataError
from lq_emotion.common.processes import WorkerLostError, as_done
from lq_emotion.common.records import Record

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class JobOutcome(Record):
    """The outcome of the work on one of many items; each kind of work adds fields."""

    name: str
    status: Literal["done", "incomplete", "failed"]
    """Incomplete: there are results, but of a part of the item."""
    error: str = ""
    """The problem of an item that is not done."""
    seconds: float = 0.0
    before: bool = False
    """An earlier run did the work."""

    @property
    def when(self) -> str:
        """The duration of the work, in words."""
        return "done before" if self.before else f"{self.seconds:.1f} s"


def run_all(
    work: Callable[..., ResultT],
    items: Sequence[ItemT],
    *,
    jobs: int = 1,
    cluster: str | None = None,
    unit: str,
    name: Callable[[ItemT], str] = str,
    frames: Callable[[ItemT], int | None] | None = None,
    lost: Callable[[ItemT, str], ResultT] | None = None,
) -> Iterator[tuple[int, ResultT]]:
    """Yield the number of each item and the result of a piece of work for it as it is ready, with a progress bar.

    The work is done by `jobs` processes, or by the workers of the Dask scheduler at `cluster`, tcp://host:8786; `work`,
    items and results are pickled then. The bar counts items, whose noun is `unit`. Where one item is worked on at a
    time and `frames` returns its number of frames, None if it is unknown, each has its own bar: `work` is called with
    ``progress``, too, which takes a number of frames, and the number of all where it becomes known. `lost` makes the
    result of an item whose worker was lost, from the item and a message; by default this is an error.
    """
    alone = cluster is None and (jobs == 1 or len(items) == 1)
    if alone and frames is not None:
        for number, item in enumerate(items):
            title = f"{name(item)} ({number + 1}/{len(items)})"
            with tqdm(desc=title, total=frames(item), unit=" frames", disable=None, leave=False) as bar:
                yield number, work(item, progress=_advance(bar))
        return
    done = set()
    tasks = list(enumerate(items))
    with connect(cluster) if cluster else nullcontext() as client:
        results: Iterator[tuple[int, ResultT]]
        if alone:
            results = (_numbered(work, *task) for task in tasks)
        else:
            results = (
                _on_cluster(client, cluster, work, tasks)
                if cluster
                else as_done(jobs, _numbered, [(work, *task) for task in tasks])
            )
        try:
            for number, result in tqdm(results, total=len(items), unit=f" {unit}", disable=None, leave=False):
                done.add(number)
                yield number, result
        except Exception as error:
            if lost is None or alone:
                raise
            problem = f"worker died ({error}); possibly out of memory: try fewer --jobs"
            yield from ((number, lost(item, problem)) for number, item in tasks if number not in done)


def _advance(bar: Any) -> Callable[..., None]:
    def advance(frames: int, total: int | None = None) -> None:
        bar.total = total or bar.total
        bar.update(frames)

    return advance


def _numbered(work: Callable[[ItemT], ResultT], number: int, item: ItemT) -> tuple[int, ResultT]:
    return number, work(item)


def _on_cluster(
    client: Any, address: str, work: Callable[[ItemT], ResultT], tasks: Sequence[tuple[int, ItemT]]
) -> Iterator[tuple[int, ResultT]]:
    """Yield results from the workers of a Dask scheduler; errors of the cluster become `WorkerLostError`."""
    from distributed import as_completed

    futures = [client.submit(_numbered, work, number, item, pure=False) for number, item in tasks]
    for future in as_completed(futures, loop=client.loop):  # type: ignore[no-untyped-call]
        try:
            result: tuple[int, ResultT] = future.result()
        except CaffeCompatError:
            raise
        except Exception as error:  # noqa: BLE001 (whatever the cluster raises)
            problem = f"{type(error).__name__}: {error}"
            raise WorkerLostError(problem, code="worker-lost", field="--cluster", value=address) from None
        yield result


def connect(address: str, *, timeout: float = 10.0) -> Any:
    """Return a client of a Dask scheduler, a context manager, if it answers within `timeout` seconds."""
    try:
        from distributed import Client
    except ImportError:
        raise DataError(
            "needs the package distributed", code="dependency-missing", field="--cluster", value=address,
            hint="pip install distributed",
        ) from None  # fmt: skip
    try:
        return Client(address, timeout=timeout, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise DataError(
            f"no Dask scheduler answered: {error}", code="worker-lost", field="--cluster", value=address
        ) from None
