"""Train with the engine's solver, continue after an interruption, and keep Caffe's log."""

from __future__ import annotations

import re
import sys
import time
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
    """The folder of a training, with ``train.log`` and ``snapshots/``."""

    folder: Path
    """Relative names in the solver's definition refer to it."""
    name: str
    """Prefix of the names of snapshots, as in the solver's snapshot_prefix."""
    label: str
    """Title of the progress bar."""

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

            def action() -> Action:
                progress.show()
                return ask()

            tests = History(self.folder / PLATEAU)
            make = partial(PlateauSolver, tests=tests, only_best=only_best) if on_plateau else Solver
            with make(
                param, base_dir=self.folder, device=device, log=CaffeLog(stream), action=action, criterion=criterion
            ) as solver:
                if state:
                    solver.restore(state)
                    say(f"continuing from {state.name}")
                elif weights:
                    solver.load_weights(weights)
                start = solver.iter
                progress = _Progress(solver, param.max_iter, self.label, say)
                with progress.bar:
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


class _Progress:
    """The progress of a solver: a bar on a terminal, else a line now and then."""

    def __init__(self, solver: Solver, total: int, label: str, say: Say) -> None:
        self._solver, self._total, self._say = solver, total, say
        self._every = max(_EVERY, total // _LINES)
        self._shown = solver.iter
        self._since = (solver.iter, time.perf_counter())
        self.bar: tqdm[Never] = tqdm(
            total=total, initial=solver.iter, desc=label, unit="it", disable=None, leave=False, file=sys.stderr
        )

    def show(self) -> None:
        """Show the iteration that the solver has reached, if it is a new one."""
        iteration, bar = self._solver.iter, self.bar
        if iteration == self._shown:
            return
        self._shown = iteration
        loss = float(self._solver.outputs["loss"])
        if not bar.disable:
            bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
            bar.update(iteration - bar.n)
        elif iteration % self._every == 0 or iteration == self._total:
            count, since = self._since
            seconds = (time.perf_counter() - since) / (iteration - count)
            self._say(f"iteration {iteration} of {self._total}: loss {loss:.3f}, {seconds:.2f} s each")
            self._since = (iteration, time.perf_counter())
