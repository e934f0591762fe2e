"""Batches made ready while the net computes, as Caffe's prefetch thread does, with a place that is exact.

The thread runs ahead; the place that `cursor` tells is that of the next batch handed out, its random numbers included,
so that a run goes on from it as if nothing had been made ahead.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Mapping
from queue import SimpleQueue
from typing import TYPE_CHECKING

from caffe_compat.data.source import DataSource
from caffe_compat.runtime.closing import Closing, close_at_exit

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from caffe_compat.data.source import Cursor

    Batch = dict[str, torch.Tensor]

# Seconds that the end of a program waits for a batch that is being made.
_LONGEST = 30


class _Line(threading.Thread, Closing):
    """The thread, and what it shares with the consumer; it does not hold the consumer, which can so be collected."""

    def __init__(self, source: DataSource, *, pin: bool) -> None:
        super().__init__(name=f"caffe-prefetch-{source.tops[0]}", daemon=True)
        self._source = source
        self._pin = pin
        self._unwanted = False
        self.process = os.getpid()
        self.free: SimpleQueue[None] = SimpleQueue()
        self.ready: SimpleQueue[tuple[Batch, Cursor] | BaseException] = SimpleQueue()

    def run(self) -> None:
        """Make a batch for every free place, until asked to stop."""
        while True:
            self.free.get()
            if self._unwanted:
                return
            try:
                batch = self._source.next()
                if self._pin:
                    batch = {top: values.pin_memory() for top, values in batch.items()}
                self.ready.put((batch, self._source.cursor()))
            except BaseException as error:  # noqa: BLE001  (it is raised where the batch is asked for)
                self.ready.put(error)
                return

    def stop(self) -> None:
        """Ask the thread to end; a collection of garbage may call it, under any lock, so nothing is waited for."""
        self._unwanted = True
        self.free.put(None)

    def close(self) -> None:
        """End the thread, at the end of the program."""
        self.stop()
        self.join(_LONGEST)


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
            self._halt()  # the thread did not come along into a forked process, which makes its batches anew
        line = self._line or self._start()
        made = line.ready.get()
        if isinstance(made, BaseException):
            self._halt()
            raise made
        batch, self._place = made
        line.free.put(None)
        return batch

    def cursor(self) -> Cursor:
        """Return where the next batch handed out begins."""
        return self.source.cursor() if self._place is None else self._place

    def reset(self) -> None:
        """Start again from the first row; the random numbers go on from the last batch handed out."""
        self._halt()
        self.source.reset()

    def fits(self, cursor: Mapping[str, npt.NDArray[np.int64]]) -> bool:
        """Tell whether the source has that place."""
        self._halt()
        return self.source.fits(cursor)

    def seek(self, cursor: Mapping[str, npt.NDArray[np.int64]]) -> None:
        """Go to a place of the source."""
        self._halt()
        self.source.seek(cursor)

    def close(self) -> None:
        """End the thread and close the source."""
        self._halt()
        self.source.close()

    def _halt(self) -> None:
        """End the thread and give up what it made ahead; the next batch starts another one."""
        if self._line is not None:
            self._line.stop()
            self._line.join()
            self._line = None
        if self._place is not None:
            self.source.seek(self._place)
            self._place = None

    def _start(self) -> _Line:
        self._place = self.source.cursor()
        self._line = line = _Line(self.source, pin=self._pin)
        for _ in range(self.prefetch):
            line.free.put(None)
        weakref.finalize(self, line.stop).atexit = False
        close_at_exit(line)
        line.start()
        return line


def ahead(source: DataSource, *, pin: bool = False) -> DataSource:
    """Return a source that keeps as many batches ready as it says; itself where that is none."""
    return Prefetch(source, source.prefetch, pin=pin) if source.prefetch > 0 else source
