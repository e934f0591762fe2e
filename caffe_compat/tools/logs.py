"""Parse training logs of Caffe, and of this engine, whose lines are the same.

Facts from BVLC Caffe 9b89154, solver.cpp and tools/extra/parse_log.py: a line with the iteration precedes its outputs;
seconds count from the first line of the log; glog's timestamps have no year.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from os import PathLike, fspath

from caffe_compat.errors import FileError
from caffe_compat.formats.files import atomic_path, read_bytes

_NUMBER = r"([-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|nan|inf))"
_STAMP = re.compile(r"[IWEF](\d{2})(\d{2}) (\d{2}):(\d{2}):(\d{2})\.(\d{6})")
_ITERATION = re.compile(r"Iteration (\d+)")
_TEST_NET = re.compile(r"Testing net \(#(\d+)\)")
_LOSS = re.compile(rf"Iteration \d+.*, loss = {_NUMBER}")
_RATE = re.compile(rf"Iteration \d+, lr = {_NUMBER}")
_OUTPUT = re.compile(rf"(Train|Test) net output #(\d+): (\S+) = {_NUMBER}")


@dataclass(frozen=True)
class Entry:
    """A number of a log, at an iteration."""

    iteration: int
    kind: str
    """"loss", "lr", "train" or "test"."""
    name: str
    """Of the output blob; empty for loss and lr."""
    index: int
    """Of the output in the log."""
    net: int
    """Index of the test net."""
    value: float
    seconds: float
    """Time since the first line of the log."""

    @property
    def key(self) -> tuple[int, str, str, int, int]:
        """Return the key of this entry in a log."""
        return self.iteration, self.kind, self.name, self.index, self.net

    @property
    def description(self) -> str:
        """Return a description for messages."""
        if self.kind in ("loss", "lr"):
            return f"iteration {self.iteration}, {self.kind}"
        net = f" of net #{self.net}" if self.kind == "test" and self.net else ""
        return f"iteration {self.iteration}, {self.kind} output #{self.index} {self.name}{net}"


def read_log(path: str | PathLike[str]) -> list[Entry]:
    """Return the numbers of a training log, in order."""
    entries = list(_entries(read_bytes(path).decode("utf-8", "replace")))
    if not entries:
        hint = "pass the stderr of `caffe train`, or a log of `caffe-compat train --log=FILE`"
        raise FileError("no iteration of a training run found", code="wrong-format", file=path, hint=hint)
    return entries


def is_log(text: str) -> bool:
    """Tell whether a text begins like a training log."""
    return any(_STAMP.match(line) for line in text.splitlines()[:200])


def _entries(text: str) -> Iterator[Entry]:
    iteration, net, first = -1, 0, None
    seconds = 0.0
    for line in text.splitlines():
        stamp = _STAMP.match(line)
        if stamp:
            now = _time(stamp, first)
            first = first or now
            seconds = (now - first).total_seconds()
        at = _ITERATION.search(line)
        if at:
            iteration = int(at[1])
        tested = _TEST_NET.search(line)
        if tested:
            net = int(tested[1])
        if iteration < 0:
            continue
        for kind, pattern in (("loss", _LOSS), ("lr", _RATE)):
            number = pattern.search(line)
            if number:
                yield Entry(iteration, kind, "", 0, 0, float(number[1]), seconds)
        output = _OUTPUT.search(line)
        if output:
            kind = output[1].lower()
            number_of_net = net if kind == "test" else 0
            yield Entry(iteration, kind, output[3], int(output[2]), number_of_net, float(output[4]), seconds)


def _time(stamp: re.Match[str], first: datetime | None) -> datetime:
    """Return a timestamp's time in a leap year, or in the next year if it precedes the first."""
    month, day, hour, minute, second, micro = map(int, stamp.groups())
    try:
        now = datetime(2000, month, day, hour, minute, second, micro)  # noqa: DTZ001  (stamps are local times)
    except ValueError:
        return first or datetime(2000, 1, 1)  # noqa: DTZ001
    return now + timedelta(days=366) if first and now < first - timedelta(days=1) else now


def rows(entries: Sequence[Entry], kind: str) -> list[dict[str, float]]:
    """Return a row per iteration with outputs of a kind ("train" or "test"), with the columns of parse_log.py."""
    rates = {entry.iteration: entry.value for entry in entries if entry.kind == "lr"}
    losses = {entry.iteration: entry.value for entry in entries if entry.kind == "loss"}
    names = [(e.net, e.index, e.name) for e in entries if e.kind == kind]
    several = len({net for net, _, _ in names}) > 1
    by_iteration: dict[int, dict[str, float]] = {}
    for entry in entries:
        if entry.kind != kind:
            continue
        row = by_iteration.setdefault(
            entry.iteration,
            {"NumIters": entry.iteration, "Seconds": entry.seconds, "LearningRate": _rate(rates, entry.iteration)},
        )
        if kind == "train" and entry.iteration in losses:
            row.setdefault("SmoothedLoss", losses[entry.iteration])
        name = f"{entry.name}#{entry.net}" if several else entry.name
        row[name if name not in row else f"{name}.{entry.index}"] = entry.value
    return list(by_iteration.values())


def _rate(rates: dict[int, float], iteration: int) -> float:
    """Return the learning rate of an iteration: the last one logged up to it, or the first of the log."""
    previous = [at for at in rates if at <= iteration]
    return rates[max(previous)] if previous else next(iter(rates.values()), float("nan"))


def write_csv(table: Sequence[dict[str, float]], path: str | PathLike[str], delimiter: str = ",") -> None:
    """Write rows as CSV; columns in the order of their first appearance."""
    columns = list(dict.fromkeys(name for row in table for name in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    with atomic_path(fspath(path)) as partial:
        partial.write_text(text.getvalue(), encoding="utf-8")
