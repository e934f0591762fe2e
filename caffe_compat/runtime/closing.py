"""What holds a thread or a file of a C library is closed by whoever opened it, and at the program's end at the latest.

While the interpreter takes itself apart, a thread is stopped wherever it is, with the locks it holds, and libraries
such as h5py are gone before the objects that need them. So nothing of that kind may be open any more by then.
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
    """Base of what can be closed: a context manager; closing twice does no harm."""

    def close(self) -> None:
        """Give up what is held open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def close_at_exit(item: Closing) -> None:
    """Close something when the program ends, unless it is gone by then; what was opened last is closed first."""
    _open[next(_numbers)] = item


@atexit.register
def _close_all() -> None:
    for _, item in sorted(_open.items(), reverse=True):
        item.close()
