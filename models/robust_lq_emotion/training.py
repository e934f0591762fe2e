"""Training with the engine's solver: goes on where it was interrupted, and leaves Caffe's log behind."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Never

from tqdm import tqdm

from caffe_compat.errors import CaffeCompatError
from caffe_compat.proto import caffe_pb2 as pb
from caffe_compat.solver import Action, Log, SignalActions, Solver

Say = Callable[[str], None]
_EVERY = 25  # iterations between two lines where there is no terminal


class InterruptedTrainingError(CaffeCompatError):
    """Training was stopped, with a snapshot; the same call goes on from there."""


def snapshot_at(folder: Path, iteration: int, suffix: str = ".caffemodel") -> Path:
    """Return the path of a snapshot of the demo in `folder`."""
    return folder / "snapshots" / f"sr_fcn_iter_{iteration}{suffix}"


def last_state(folder: Path, limit: int) -> Path | None:
    """Return the solver state with most iterations, of those up to `limit`."""
    counts = [
        int(found[1])
        for path in (folder / "snapshots").glob("sr_fcn_iter_*.solverstate")
        if (found := re.fullmatch(r"sr_fcn_iter_(\d+)\.solverstate", path.name))
    ]
    fitting = [count for count in counts if count <= limit and snapshot_at(folder, count).is_file()]
    return snapshot_at(folder, max(fitting), ".solverstate") if fitting else None


def train(param: pb.SolverParameter, folder: Path, say: Say) -> int:
    """Train until ``param.max_iter`` and return the iteration that was started from.

    Raises
    ------
    InterruptedTrainingError
        Ctrl-C; a snapshot was taken.
    CaffeCompatError
        Data, definitions or a snapshot that cannot be used.
    """
    state = last_state(folder, param.max_iter)
    if state is None:
        (folder / "train.log").unlink(missing_ok=True)
    with (folder / "train.log").open("a", encoding="utf-8") as stream, SignalActions() as ask:
        watch = _Watch(ask, param.max_iter, say)
        solver = Solver(param, base_dir=folder, log=Log(stream), action=watch)
        if state:
            solver.restore(state)
            say(f"going on from {state.name}")
        start = solver.iter
        with watch.of(solver):
            finished = solver.solve()
    if not finished:
        raise InterruptedTrainingError(
            f"interrupted after iteration {solver.iter}; the same command goes on from there"
        )
    return start


class _Watch:
    """What the solver asks after every iteration whether to go on: shows on the way how far it is."""

    def __init__(self, ask: Callable[[], Action], total: int, say: Say) -> None:
        self._ask = ask
        self._total = total
        self._say = say
        self._solver: Solver | None = None
        self._bar: tqdm[Never] | None = None

    def of(self, solver: Solver) -> _Watch:
        self._solver = solver
        self._seen = solver.iter
        self._since = (solver.iter, time.perf_counter())
        return self

    def __enter__(self) -> None:
        self._bar = tqdm(
            total=self._total, initial=self._seen, desc="SR-FCN", unit="it", disable=None, leave=False, file=sys.stderr
        )

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self) -> Action:
        solver, bar = self._solver, self._bar
        if solver is not None and bar is not None and solver.iter != self._seen:
            self._seen = solver.iter
            loss = float(solver.outputs["loss"])
            if not bar.disable:
                bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
                bar.update(solver.iter - bar.n)
            elif solver.iter % _EVERY == 0 or solver.iter == self._total:
                count, since = self._since
                seconds = (time.perf_counter() - since) / (solver.iter - count)
                self._say(f"iteration {solver.iter} of {self._total}: loss {loss:.3f}, {seconds:.2f} s each")
                self._since = (solver.iter, time.perf_counter())
        return self._ask()


@dataclass(frozen=True)
class Curves:
    """Losses by iteration, as the log has them."""

    train: dict[int, float] = field(default_factory=dict)
    test: dict[int, float] = field(default_factory=dict)


_TRAIN = re.compile(r"\] Iteration (\d+)(?: \([^)]*\))?, loss = (\S+)")
_TESTING = re.compile(r"\] Iteration (\d+), Testing net")
_TEST = re.compile(r"\]     Test net output #0: loss = (\S+)")


def read_curves(log: Path, iterations: int) -> Curves:
    """Return the losses up to `iterations`; where an interrupted run repeated some, those of the last run."""
    curves = Curves()
    testing = 0
    for line in log.read_text(encoding="utf-8").splitlines():
        if found := _TRAIN.search(line):
            curves.train[int(found[1])] = float(found[2])
        elif found := _TESTING.search(line):
            testing = int(found[1])
        elif found := _TEST.search(line):
            curves.test[testing] = float(found[1])
    return Curves(*({i: v for i, v in sorted(part.items()) if i <= iterations} for part in (curves.train, curves.test)))
