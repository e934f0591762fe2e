"""Fetch items in a thread, ahead of whoever takes them."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Self, TypeVar

_T = TypeVar("_T")
_POLL = 0.1  # seconds after which a waiting thread looks whether it is still needed


class _End:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class Ahead(Generic[_T]):
    """Iterate over items that a thread fetches; use it in a ``with`` block, which ends the thread.

    Parameters
    ----------
    items : what the thread iterates over. Its errors are raised here, after the items before them.
    depth : how many items wait at most.
    latest : a new item takes the place of the oldest where none is free, as suits a camera; else the thread waits.
    size : returns the size of an item in memory; without it only `depth` counts.
    most : how large the items that wait are together, unless it is a single item.
    """

    def __init__(
        self, items: Iterable[_T], depth: int, *, latest: bool = False,
        size: Callable[[_T], int] | None = None, most: int = 0,
    ) -> None:  # fmt: skip
        self._items, self._latest, self._size_of, self._most = items, latest, size, most
        self._size, self._taken = 0, threading.Condition()
        self._queue: queue.Queue[_T | _End] = queue.Queue(depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._fetch, name="ahead", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def __iter__(self) -> Iterator[_T]:
        while True:
            item = self._queue.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            self._add(item, -1)
            yield item
            del item  # it would stay in memory while the next one is awaited

    def _fetch(self) -> None:
        error: BaseException | None = None
        try:
            for item in self._items:
                self._put(item)
                if self._stop.is_set():
                    return
        except BaseException as problem:  # noqa: BLE001  (raised in the other thread)
            error = problem
        self._put(_End(error))

    def _add(self, item: _T, sign: int) -> None:
        if self._size_of is not None:
            with self._taken:
                self._size += sign * self._size_of(item)
                self._taken.notify_all()

    def _wait_for_room(self, item: _T) -> None:
        if self._size_of is None:
            return
        size = self._size_of(item)
        with self._taken:
            while self._size and self._size + size > self._most and not self._stop.is_set():
                self._taken.wait(_POLL)

    def _put(self, item: _T | _End) -> None:
        replaces = self._latest and not isinstance(item, _End)
        if not isinstance(item, _End):
            if not replaces:
                self._wait_for_room(item)
            self._add(item, 1)
        while not self._stop.is_set():
            try:
                self._queue.put(item, block=not replaces, timeout=_POLL)
            except queue.Full:
                if replaces:
                    self._drop_oldest()
            else:
                return

    def _drop_oldest(self) -> None:
        with contextlib.suppress(queue.Empty):
            dropped = self._queue.get_nowait()
            if not isinstance(dropped, _End):
                self._add(dropped, -1)
