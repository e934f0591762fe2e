"""Run an iterator in a thread, a few items ahead of its consumer."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from typing import TypeVar

_T = TypeVar("_T")


def read_ahead(items: Iterator[_T], depth: int) -> Generator[_T]:
    """Yield the items of an iterator, up to `depth` of them computed in advance; close it to end the thread."""
    buffer: queue.Queue[tuple[_T] | BaseException | None] = queue.Queue(depth)
    stop = threading.Event()

    def put(entry: tuple[_T] | BaseException | None) -> bool:
        while not stop.is_set():
            try:
                buffer.put(entry, timeout=0.1)
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
        except BaseException as error:  # noqa: BLE001 (raised in the consumer's thread)
            put(error)

    worker = threading.Thread(target=run, name="read_ahead")
    worker.start()
    try:
        while (entry := buffer.get()) is not None:
            if isinstance(entry, BaseException):
                raise entry
            yield entry[0]
    finally:
        stop.set()
        worker.join()
