"""Train with the engine's solver, continue after an interruption, and keep Caffe's log."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Never

import torch
from tqdm import tqdm

from caffe_compat.errors import FileError
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver import Action, CaffeLog, SignalActions, Solver
from caffe_compat.solver.nets import Criterion
from lq_emotion.common.progress import Say
from lq_emotion.training.plateau import PLATEAU, History, PlateauSolver

_EVERY = 25  # iterations between two lines without a terminal, at least
_LINES = 200  # lines without a terminal, at most


class InterruptedTrainingError(KeyboardInterrupt):
    """Ctrl-C stopped a training after a snapshot; the same call continues from there."""


@dataclass(frozen=True)
class Run:
    """The folder of a training, with ``train.log`` and ``snapshots/``.

    Attributes
    ----------
    folder : the folder; relative names in the solver's definition refer to it.
    name : prefix of the names of snapshots, as in the solver's snapshot_prefix.
    label : title of the progress bar.
    """

    folder: Path
    name: str
    label: str

    @property
    def log(self) -> Path:
        """Return the path of Caffe's log."""
        return self.folder / "train.log"

    @property
    def prefix(self) -> Path:
        """Return the solver's snapshot_prefix."""
        return self.folder / "snapshots" / self.name

    def snapshot(self, iteration: int, suffix: str = ".caffemodel") -> Path:
        """Return the path of a snapshot."""
        return self.prefix.with_name(f"{self.name}_iter_{iteration}{suffix}")

    def last_state(self, limit: int) -> Path | None:
        """Return the latest solver state up to `limit` iterations; None without one."""
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
        only_best: bool = False,
    ) -> int:
        """Train until ``param.max_iter`` and return the iteration at which training started.

        Ctrl-C saves a snapshot and raises InterruptedTrainingError. Without a snapshot, `weights` are loaded by layer
        name. `criterion` is a loss that is not a layer. `on_plateau` divides the rate by ten when the test loss stops
        falling (see `plateau`) and, with `only_best`, keeps the snapshots of the best test and the last one only.
        """
        state = self.last_state(param.max_iter)
        if state is None:
            self.log.unlink(missing_ok=True)
        with self.log.open("a", encoding="utf-8") as stream, SignalActions() as ask:
            watch = _Watch(ask, param.max_iter, say, self.label)
            tests = History(self.folder / PLATEAU)
            make = partial(PlateauSolver, tests=tests, only_best=only_best) if on_plateau else Solver
            with make(
                param, base_dir=self.folder, device=device, log=CaffeLog(stream), action=watch, criterion=criterion
            ) as solver:
                if state:
                    solver.restore(state)
                    say(f"continuing from {state.name}")
                elif weights:
                    solver.load_weights(weights)
                start = solver.iter
                with watch.of(solver):
                    finished = solver.solve()
        if not finished:
            raise InterruptedTrainingError(
                f"interrupted after iteration {solver.iter}; the same command continues from there"
            )
        return start


def find_weights(path: Path) -> Path:
    """Return a weights file: the given one or, in the folder of a run, the latest snapshot."""
    if path.is_file():
        return path
    if not path.is_dir():
        hint = "pass a .caffemodel, or the folder of a run"
        raise FileError("file not found", code="file-missing", file=path, hint=hint)
    snapshots = [
        (int(match[1]), file)
        for folder in (path, path / "snapshots")
        for file in folder.glob("*_iter_*.caffemodel")
        if (match := re.search(r"_iter_(\d+)\.caffemodel$", file.name))
    ]
    if not snapshots:
        hint = "run `lq-emotion study train` first"
        raise FileError("no snapshot found", code="not-prepared", file=path, hint=hint)
    return max(snapshots)[1]


def _iterations(folder: Path, name: str, suffix: str) -> list[int]:
    pattern = re.compile(rf"{re.escape(name)}_iter_(\d+)\.{suffix}")
    return [int(match[1]) for path in folder.glob(f"*.{suffix}") if (match := pattern.fullmatch(path.name))]


class _Watch:
    """Show progress whenever the solver asks whether to continue."""

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
