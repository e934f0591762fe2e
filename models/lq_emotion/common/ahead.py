"""Fetch items in a thread, ahead of whoever takes them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Self, TypeVar

_T = TypeVar("_T")


class Ahead(Generic[_T]):
    """Iterate over items that a thread fetches; use it in a ``with`` block, which ends the thread.

    Errors of `items` are raised here, after the items before them. At most `depth` items wait, of `most` bytes
    together, by `size`, unless it is a single item. Where no place is free the thread waits, or with `latest` a new
    item takes the place of the oldest, as suits a camera.
    """

    def __init__(
        self, items: Iterable[_T], depth: int, *, latest: bool = False,
        size: Callable[[_T], int] = lambda _: 0, most: int = 0,
    ) -> None:  # fmt: skip
        self._items, self._depth, self._latest, self._size_of, self._most = items, depth, latest, size, most
        self._waiting: deque[tuple[_T, int]] = deque()
        self._size = 0  # of the items that wait
        self._error: BaseException | None = None
        self._stopped = self._ended = False
        self._changed = threading.Condition()  # guards all of these
        self._thread = threading.Thread(target=self._fetch, name="ahead", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join()

    def __iter__(self) -> Iterator[_T]:
        while True:
            with self._changed:
                while not (self._waiting or self._ended):
                    self._changed.wait()
                if not self._waiting:
                    break
                item, size = self._waiting.popleft()
                self._size -= size
                self._changed.notify_all()
            yield item
            del item  # it would stay in memory while the next one is awaited
        if self._error is not None:
            raise self._error

    def _fetch(self) -> None:
        waiting = self._waiting
        try:
            for item in self._items:
                size = self._size_of(item)
                with self._changed:
                    while (
                        waiting
                        and not self._stopped
                        and (len(waiting) == self._depth or self._size + size > self._most)
                    ):
                        if self._latest:
                            self._size -= waiting.popleft()[1]
                        else:
                            self._changed.wait()
                    if self._stopped:
                        return
                    waiting.append((item, size))
                    self._size += size
                    self._changed.notify_all()
        except BaseException as problem:  # noqa: BLE001  (raised in the other thread)
            self._error = problem
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()
