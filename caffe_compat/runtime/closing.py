"""Close objects that own a thread or a file of a C library at the program's exit, unless they were closed before.

While the interpreter shuts down, threads are stopped together with the locks they hold, and libraries such as h5py are
unloaded before the objects that need them. All such objects must be closed by then.
"""

from __future__ import annotations

import atexit
from itertools import count
from types import TracebackType
from typing import Self
from weakref import WeakValueDictionary

_open: WeakValueDictionary[int, Closing] = WeakValueDictionary()
_numbers = count()


class Closing:
    """Base class of closable context managers; closing twice is harmless."""

    def close(self) -> None:
        """Release the resources."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def close_at_exit(item: Closing) -> None:
    """Close an object at the program's exit, if it still exists; the last one opened is closed first."""
    _open[next(_numbers)] = item


@atexit.register
def _close_all() -> None:
    for _, item in sorted(_open.items(), reverse=True):
        item.close()
