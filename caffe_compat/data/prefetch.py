"""Batches prepared in a thread while the net computes, as in Caffe, with an exact cursor.

The thread runs ahead; `cursor` returns the place of the next batch to be returned, including its random numbers, so a
run resumes from it as if no batch had been prefetched.
"""

from __future__ import annotations

import os
import threading
import weakref
from queue import SimpleQueue

import torch

from caffe_compat.data.source import Cursor, DataSource
from caffe_compat.runtime.closing import Closing, close_at_exit

Batch = dict[str, torch.Tensor]

# Seconds to wait at exit for the batch being prepared.
_LONGEST = 30


class _Line(threading.Thread, Closing):
    """The thread and its queues. It has no reference to the consumer, which can therefore be collected."""

    def __init__(self, source: DataSource, *, pin: bool) -> None:
        super().__init__(name=f"caffe-prefetch-{source.tops[0]}", daemon=True)
        self._source = source
        self._pin = pin
        self._stopping = False
        self.process = os.getpid()
        self.free: SimpleQueue[None] = SimpleQueue()
        self.ready: SimpleQueue[tuple[Batch, Cursor] | BaseException] = SimpleQueue()

    def run(self) -> None:
        """Prepare a batch for each free place until stopped."""
        while True:
            self.free.get()
            if self._stopping:
                return
            try:
                batch = self._source.next()
                if self._pin:
                    batch = {top: values.pin_memory() for top, values in batch.items()}
                self.ready.put((batch, self._source.cursor()))
            except BaseException as error:  # noqa: BLE001  (the consumer's `next` raises it)
                self.ready.put(error)
                return

    def stop(self) -> None:
        """Ask the thread to end, without waiting: the garbage collector may call this under any lock."""
        self._stopping = True
        self.free.put(None)

    def close(self) -> None:
        """End the thread at exit."""
        self.stop()
        self.join(_LONGEST)


class Prefetch(DataSource):
    """A source whose next batches, at most `depth`, are prepared in a thread; it owns the source.

    The thread starts with the first call of `next`, and ends when the object is closed or collected, or at exit.
    With `pin` batches are in pinned memory, from which a GPU copies asynchronously.
    """

    type = ""  # wraps a source of any data layer type

    def __init__(self, source: DataSource, depth: int, *, pin: bool = False) -> None:
        self.tops, self.shapes = source.tops, source.shapes
        self.prefetch = depth
        self.source = source
        self._pin = pin
        self._place: Cursor | None = None
        self._line: _Line | None = None

    def next(self) -> Batch:
        """Return the next batch; raise the error of its preparation, if any."""
        if self._line is not None and self._line.process != os.getpid():
            self._halt()  # a forked process has no such thread, and starts its own
        line = self._line or self._start()
        result = line.ready.get()
        if isinstance(result, BaseException):
            self._halt()
            raise result
        batch, self._place = result
        line.free.put(None)
        return batch

    def cursor(self) -> Cursor:
        """Return the place of the next batch to be returned."""
        return self.source.cursor() if self._place is None else self._place

    def reset(self) -> None:
        """Start again from the first row; the random numbers continue from the last batch returned."""
        self._halt()
        self.source.reset()

    def fits(self, cursor: Cursor) -> bool:
        """Return whether the cursor fits the source."""
        self._halt()
        return self.source.fits(cursor)

    def seek(self, cursor: Cursor) -> None:
        """Move the source to a cursor."""
        self._halt()
        self.source.seek(cursor)

    def close(self) -> None:
        """End the thread and close the source."""
        self._halt()
        self.source.close()

    def _halt(self) -> None:
        """End the thread and drop its batches; the next batch starts a new thread."""
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
    """Return a source that prefetches `source.prefetch` batches; `source` itself if 0."""
    return Prefetch(source, source.prefetch, pin=pin) if source.prefetch > 0 else source
