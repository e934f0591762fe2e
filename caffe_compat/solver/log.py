"""Log lines as Caffe's binary writes them, so that the tools people have for Caffe logs read ours.

A line is glog's: ``I1121 03:41:46.123456 12345 solver.cpp:239] Iteration 0 ...``. The place named is where Caffe 1.0
(9b89154) writes the line: old scripts match on it. Numbers are written as C++ streams write a float: six digits.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from os import PathLike
from typing import Never, TextIO

import torch
from tqdm import tqdm

from caffe_compat.build.weights import LoadReport
from caffe_compat.errors import printable
from caffe_compat.solver.rules import product


def number(value: float) -> str:
    """Format a number as a C++ stream does by default."""
    return f"{value:g}"


def least_severity() -> int:
    """Return the lowest severity to log, as glog's environment variable has it; 0 if that is no number."""
    text = os.environ.get("GLOG_minloglevel", "0")  # noqa: SIM112  (glog's own name)
    return int(text) if text.lstrip("-").isdecimal() else 0


class CaffeLog:
    """Writes lines to any number of streams, and a progress bar to the first that is a terminal.

    Entries below the severity `least` are left out, as by glog's minloglevel: 0 info, 1 warning, 2 error.
    """

    def __init__(self, *streams: TextIO, now: Callable[[], datetime] = datetime.now, least: int = 0) -> None:
        self._streams = streams
        self._least = least
        self._warned: set[str] = set()
        self._now = now
        self._terminal = next((stream for stream in streams if stream.isatty()), None)
        self._bar: tqdm[Never] | None = None

    def line(self, place: str, text: str, severity: str = "I") -> None:
        """Write one entry; `place` is ``file:line`` of Caffe's source, `severity` glog's letter."""
        if "IWEF".index(severity) < self._least:
            return
        stamp = f"{severity}{self._now():%m%d %H:%M:%S.%f}"
        entry = f"{stamp} {threading.get_native_id():5d} {place}] " + printable(text, keep="\n\t")
        for stream in self._streams:
            if self._bar is not None and stream is self._terminal:
                self._bar.write(entry, file=stream)
            else:
                stream.write(entry + "\n")
            stream.flush()

    def lines(self, lines: Iterable[tuple[str, str]]) -> None:
        """Write entries of severity I, each a place and a text; they are made only if they are written."""
        if self._streams and not self._least:
            for place, text in lines:
                self.line(place, text)

    def copied(self, report: LoadReport, file: str | PathLike[str]) -> None:
        """Write Caffe's lines about copied weights, and a warning for each blob that is not finite."""
        for place, text in report.lines(file):
            self.line(place, text)
        for text in report.warnings(file):
            if text not in self._warned:  # of a training net's and its test nets' one file
                self._warned.add(text)
                self.line("net.cpp:746", text, "W")

    @contextmanager
    def progress(self, total: int, done: int, label: str) -> Iterator[Callable[[int], None]]:
        """Show how far a run is, on a terminal only; yield a function that takes the number of iterations done."""
        if self._terminal is None:
            yield lambda _: None
            return
        bar: tqdm[Never] = tqdm(
            total=total, initial=done, desc=label, unit="it", file=self._terminal, dynamic_ncols=True, leave=False
        )
        self._bar = bar
        try:
            yield lambda current: _move(bar, current)
        finally:
            self._bar = None
            bar.close()


def _move(bar: tqdm[Never], current: int) -> None:
    bar.update(current - bar.n)


def score(kind: str, index: int, name: str, value: float, weight: float) -> str:
    """Return a line about one number of an output blob, with its part of the loss where it has a weight."""
    return f"    {kind} net output #{index}: {named(name, value, weight)}"


def named(name: str, value: float, weight: float) -> str:
    """Return ``name = value``, and what it adds to the loss where it has a weight."""
    part = f" (* {number(weight)} = {number(product(weight, value))} loss)" if weight else ""
    return f"{name} = {number(value)}{part}"


class SmoothedLoss:
    """The smoothed loss of the log (average_loss): the mean of the last `window` losses, in float32 and in Caffe's
    order of operations.

    Losses stay tensors, so that a device need not wait until a value is read.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._losses: list[torch.Tensor] = []
        self._added = 0
        self._smoothed: torch.Tensor | None = None

    def add(self, loss: torch.Tensor) -> None:
        """Add the loss of the next iteration."""
        if self._smoothed is None:
            self._smoothed = loss.clone()
            self._losses.append(loss)
        elif len(self._losses) < self._window:
            self._losses.append(loss)
            count = len(self._losses)
            self._smoothed = (self._smoothed * (count - 1) + loss) / count
        else:
            place = self._added % self._window
            self._smoothed = self._smoothed + (loss - self._losses[place]) / self._window
            self._losses[place] = loss
        self._added += 1

    @property
    def value(self) -> float:
        """The smoothed loss."""
        assert self._smoothed is not None
        return float(self._smoothed)
