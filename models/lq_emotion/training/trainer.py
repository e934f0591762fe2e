"""Training with the engine's solver: goes on where it was interrupted, and leaves Caffe's log behind."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Never

import torch
from tqdm import tqdm

from caffe_compat.errors import FileError
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver import Action, Log, SignalActions, Solver
from caffe_compat.solver.nets import Criterion
from lq_emotion.training.plateau import PLATEAU, History, PlateauSolver

Say = Callable[[str], None]
_EVERY = 25  # iterations between two lines where there is no terminal, at least,
_LINES = 200  # and so many lines at most


class InterruptedTrainingError(KeyboardInterrupt):
    """Ctrl-C stopped a training, with a snapshot; the same call goes on from there."""


@dataclass(frozen=True)
class Run:
    """A folder that a net is trained in: ``train.log`` and ``snapshots/``.

    Attributes
    ----------
    folder : where; relative names in the solver's definition are looked up there as well.
    name : what snapshots begin with, as in the solver's snapshot_prefix.
    label : what the progress bar says.
    """

    folder: Path
    name: str
    label: str

    @property
    def log(self) -> Path:
        """Return where Caffe's log lies."""
        return self.folder / "train.log"

    @property
    def prefix(self) -> Path:
        """Return the solver's snapshot_prefix."""
        return self.folder / "snapshots" / self.name

    def snapshot(self, iteration: int, suffix: str = ".caffemodel") -> Path:
        """Return the path of a snapshot."""
        return self.prefix.with_name(f"{self.name}_iter_{iteration}{suffix}")

    def last_state(self, limit: int) -> Path | None:
        """Return the solver state with most iterations, of those up to `limit`."""
        counts = [count for count in _iterations(self.prefix.parent, self.name, "solverstate") if count <= limit]
        fitting = [count for count in counts if self.snapshot(count).is_file()]
        return self.snapshot(max(fitting), ".solverstate") if fitting else None

    def train(
        self,
        param: pb.SolverParameter,
        say: Say,
        *,
        device: str | torch.device = "cpu",
        weights: Path | None = None,
        criterion: Criterion | None = None,
        on_plateau: bool = False,
    ) -> int:
        """Train until ``param.max_iter`` and return the iteration that was started from.

        Parameters
        ----------
        param : ready to run.
        say : takes lines of progress where there is no terminal.
        device : see :class:`caffe_compat.solver.Solver`.
        weights : what a run without snapshots starts from, by layer name.
        criterion : a loss that is no layer; see :class:`caffe_compat.solver.Solver`.
        on_plateau : divide the rate by ten when the tests' loss stops falling; see `plateau`.

        Raises
        ------
        InterruptedTrainingError
            Ctrl-C; a snapshot was taken.
        CaffeCompatError
            Data, definitions or a snapshot that cannot be used.
        """
        state = self.last_state(param.max_iter)
        if state is None:
            self.log.unlink(missing_ok=True)
        with self.log.open("a", encoding="utf-8") as stream, SignalActions() as ask:
            watch = _Watch(ask, param.max_iter, say, self.label)
            make = partial(PlateauSolver, tests=History(self.folder / PLATEAU)) if on_plateau else Solver
            with make(
                param, base_dir=self.folder, device=device, log=Log(stream), action=watch, criterion=criterion
            ) as solver:
                if state:
                    solver.restore(state)
                    say(f"going on from {state.name}")
                elif weights:
                    solver.load_weights(weights)
                start = solver.iter
                with watch.of(solver):
                    finished = solver.solve()
        if not finished:
            raise InterruptedTrainingError(
                f"interrupted after iteration {solver.iter}; the same command goes on from there"
            )
        return start


def find_weights(path: Path) -> Path:
    """Return a file of weights: the given one or, of a run's folder, the snapshot with most iterations.

    Raises
    ------
    FileError
        There is no such file, or no snapshot in the folder.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise FileError("no such file", file=path, hint="a .caffemodel, or the folder of a run")
    found = [
        (int(parts[1]), file)
        for folder in (path, path / "snapshots")
        for file in folder.glob("*_iter_*.caffemodel")
        if (parts := re.search(r"_iter_(\d+)\.caffemodel$", file.name))
    ]
    if not found:
        raise FileError("there is no snapshot in this folder", file=path, hint="lq-emotion train makes some")
    return max(found)[1]


def _iterations(folder: Path, name: str, suffix: str) -> list[int]:
    pattern = re.compile(rf"{re.escape(name)}_iter_(\d+)\.{suffix}")
    return [int(found[1]) for path in folder.glob(f"*.{suffix}") if (found := pattern.fullmatch(path.name))]


class _Watch:
    """What the solver asks after every iteration whether to go on: shows on the way how far it is."""

    def __init__(self, ask: Callable[[], Action], total: int, say: Say, label: str) -> None:
        self._ask = ask
        self._total = total
        self._say = say
        self._label = label
        self._every = max(_EVERY, total // _LINES)
        self._solver: Solver | None = None
        self._bar: tqdm[Never] | None = None

    def of(self, solver: Solver) -> _Watch:
        self._solver = solver
        self._seen = solver.iter
        self._since = (solver.iter, time.perf_counter())
        return self

    def __enter__(self) -> None:
        self._bar = tqdm(
            total=self._total,
            initial=self._seen,
            desc=self._label,
            unit="it",
            disable=None,
            leave=False,
            file=sys.stderr,
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
            elif solver.iter % self._every == 0 or solver.iter == self._total:
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
_TEST = re.compile(r"\]     Test net output #0: loss = (\S+)(?: \(\* \S+ = (\S+) loss\))?")


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
            curves.test[testing] = float(found[2] or found[1])  # weighted, as in training
    return Curves(*({i: v for i, v in sorted(part.items()) if i <= iterations} for part in (curves.train, curves.test)))
