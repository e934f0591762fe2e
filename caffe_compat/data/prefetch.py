"""Batches made ready while the net computes, as Caffe's prefetch thread does, with a place that is exact.

The thread runs ahead; the place that `cursor` tells is that of the next batch handed out, its random numbers included,
so that a run goes on from it as if nothing had been made ahead.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from caffe_compat.data.source import DataSource

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from caffe_compat.data.source import Cursor

    Batch = dict[str, torch.Tensor]

# Seconds that the end of a program waits for a batch that is being made.
_LONGEST = 30


@dataclass
class _Line:
    """What thread and consumer share: neither holds the other, so that one that nobody needs goes away."""

    source: DataSource
    pin: bool
    free: SimpleQueue[None] = field(default_factory=SimpleQueue)
    ready: SimpleQueue[tuple[Batch, Cursor] | BaseException] = field(default_factory=SimpleQueue)
    stopped: bool = False
    process: int = field(default_factory=os.getpid)

    def produce(self) -> None:
        """Make a batch for every free place, until asked to stop."""
        while True:
            self.free.get()
            if self.stopped:
                return
            try:
                batch = self.source.next()
                if self.pin:
                    batch = {top: values.pin_memory() for top, values in batch.items()}
                self.ready.put((batch, self.source.cursor()))
            except BaseException as error:  # noqa: BLE001  (it is raised where the batch is asked for)
                self.ready.put(error)
                return

    def stop(self) -> None:
        """Ask the thread to end; a collection of garbage may call it, under any lock, so nothing is waited for."""
        self.stopped = True
        self.free.put(None)


_running: WeakKeyDictionary[threading.Thread, _Line] = WeakKeyDictionary()


@atexit.register
def _end_all() -> None:
    """End what still runs, so that no thread is in the middle of something while the interpreter goes away."""
    for thread, line in list(_running.items()):
        line.stop()
        thread.join(_LONGEST)


class Prefetch(DataSource):
    """A source whose next batches are made in a thread of their own.

    The thread starts with the first batch asked for, and ends when the object is closed, collected, or at exit.

    Parameters
    ----------
    source : makes the batches; it belongs to this object from then on.
    depth : how many batches wait at most.
    pin : put them into memory that a GPU copies from by itself.
    """

    type = ""  # a view of any source, not one of a data layer type

    def __init__(self, source: DataSource, depth: int, *, pin: bool = False) -> None:
        self.tops, self.shapes = source.tops, source.shapes
        self.prefetch = depth
        self.source = source
        self._pin = pin
        self._place: Cursor | None = None
        self._line: _Line | None = None

    def next(self) -> Batch:
        """Return the next batch; what went wrong while it was made is raised here."""
        if self._line is not None and self._line.process != os.getpid():
            self.close()  # the thread did not come along into a forked process, which makes its batches anew
        if self._line is None:
            self._start()
        assert self._line is not None
        made = self._line.ready.get()
        if isinstance(made, BaseException):
            self.close()
            raise made
        batch, self._place = made
        self._line.free.put(None)
        return batch

    def cursor(self) -> Cursor:
        """Return where the next batch handed out begins."""
        return self.source.cursor() if self._place is None else self._place

    def reset(self) -> None:
        """Start again from the first row; the random numbers go on from the last batch handed out."""
        self.close()
        self.source.reset()

    def fits(self, cursor: Mapping[str, npt.NDArray[np.int64]]) -> bool:
        """Tell whether the source has that place."""
        self.close()
        return self.source.fits(cursor)

    def seek(self, cursor: Mapping[str, npt.NDArray[np.int64]]) -> None:
        """Go to a place of the source."""
        self.close()
        self.source.seek(cursor)

    def close(self) -> None:
        """End the thread and give up what it made ahead; the next batch starts another one."""
        if self._line is not None:
            self._line.stop()
            self._thread.join()
            self._line = None
        if self._place is not None:
            self.source.seek(self._place)
            self._place = None

    def _start(self) -> None:
        self._place = self.source.cursor()
        self._line = line = _Line(self.source, self._pin)
        for _ in range(self.prefetch):
            line.free.put(None)
        self._thread = threading.Thread(target=line.produce, name=f"caffe-prefetch-{self.tops[0]}", daemon=True)
        _running[self._thread] = line
        weakref.finalize(self, line.stop).atexit = False
        self._thread.start()


def ahead(source: DataSource, *, pin: bool = False) -> DataSource:
    """Return a source that keeps as many batches ready as it says; itself where that is none."""
    return Prefetch(source, source.prefetch, pin=pin) if source.prefetch > 0 else source
