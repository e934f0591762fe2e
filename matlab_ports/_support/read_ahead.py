"""Run an iterator ahead of its user, in a thread: what it waits for or decodes costs the user no time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from typing import TypeVar

_T = TypeVar("_T")


def ahead(items: Iterator[_T], depth: int) -> Generator[_T]:
    """Yield what `items` yields, computed up to `depth` items before it is asked for; close it to end the thread."""
    line: queue.Queue[tuple[_T] | BaseException | None] = queue.Queue(depth)
    stop = threading.Event()

    def put(entry: tuple[_T] | BaseException | None) -> bool:
        while not stop.is_set():
            try:
                line.put(entry, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def run() -> None:
        try:
            for item in items:
                if not put((item,)):
                    return
            put(None)
        except BaseException as error:  # noqa: BLE001 (raised where the items are used)
            put(error)

    worker = threading.Thread(target=run, name="ahead")
    worker.start()
    try:
        while (entry := line.get()) is not None:
            if isinstance(entry, BaseException):
                raise entry
            yield entry[0]
    finally:
        stop.set()
        worker.join()
