"""A learning rate that is divided by ten when the test loss stops falling, as in the paper.

Caffe has no such policy. A solver with policy "multistep" gets its steps from here as its tests come in. The steps
depend on the test losses alone, which are stored in plateau.json: a killed run that continues from a snapshot drops the
tests after it, repeats them and ends in the same weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from caffe_compat.errors import FileError, SolverError
from caffe_compat.formats.files import read_solverstate
from caffe_compat.solver import Solver
from caffe_compat.solver.testing import Scores
from lq_emotion.common.json_files import contents_of, read_json, write_json

PLATEAU = "plateau.json"
PATIENCE = 3
"""Tests in a row without improvement before the rate is divided; our choice, as is `MOST`."""
MOST = 3
"""Divisions at most."""
_SNAPSHOT = (".caffemodel", ".solverstate", ".resume.npz")


def divisions(losses: Mapping[int, float]) -> list[int]:
    """Return the iterations at which the rate is divided, from the test losses by iteration.

    After a division the count restarts; the best loss stays. NaN is never an improvement.
    """
    best, waited = float("inf"), 0
    iterations: list[int] = []
    for iteration, loss in sorted(losses.items()):
        if loss < best:
            best, waited = loss, 0
            continue
        waited += 1
        if waited == PATIENCE and len(iterations) < MOST:
            iterations.append(iteration)
            waited = 0
    return iterations


def best_iteration(losses: Mapping[int, float]) -> int | None:
    """Return the iteration of the smallest finite loss, the first of several; None without one."""
    finite = [(loss, iteration) for iteration, loss in losses.items() if math.isfinite(loss)]
    return min(finite)[1] if finite else None


def read_losses(path: Path, before: int) -> dict[int, float]:
    """Return the test losses of a run before an iteration, by iteration; none if there is no file."""
    with contents_of(path, "start over with --fresh"):
        losses = {int(number): float(loss) for number, loss in (read_json(path) or {}).items()}
    return {number: loss for number, loss in losses.items() if number < before}


class PlateauSolver(Solver):
    """A solver that divides its rate when the loss of its first test net stops falling.

    The losses are in the file `tests`. With `only_best`, the snapshots of the best test and the last one are kept, and
    the others removed. The policy of the definition must be "multistep".
    """

    def __init__(self, *args: Any, tests: Path, only_best: bool = False, **options: Any) -> None:
        super().__init__(*args, **options)
        self._file, self._only_best = tests, only_best
        self._by_iteration: dict[int, float] = {}
        if self.param.lr_policy != "multistep":
            problem = "only a multistep policy can take its steps from the tests"
            raise SolverError(problem, code="conflict", field="lr_policy", value=self.param.lr_policy)

    def restore(self, path: Any, **options: Any) -> None:
        """Continue from a snapshot, with the steps that follow from the tests before it; others are an error."""
        super().restore(path, **options)
        self._by_iteration = read_losses(self._file, self.iter)
        self._divide()
        taken = read_solverstate(path).current_step
        if taken != len(self.param.stepvalue):
            problem = f"has {len(self.param.stepvalue)} divisions of the rate, {Path(path).name} has {taken}"
            raise FileError(problem, code="mismatch", file=self._file, hint="start over with --fresh")

    def test(self, which: int) -> Scores | None:
        """Run a test net; the loss of the first one may divide the rate from this iteration on."""
        scores = super().test(which)
        if scores is not None and which == 0:
            self._by_iteration[self.iter] = scores.loss
            write_json({str(number): loss for number, loss in self._by_iteration.items()}, self._file)
            self._divide()
        return scores

    def snapshot(self) -> Path:
        """Write a snapshot; with `only_best`, remove the earlier ones but that of the best test so far."""
        state = super().snapshot()
        needed = {self.iter, best_iteration(self._by_iteration)}
        for iteration in self._by_iteration if self._only_best else ():
            if iteration not in needed:
                for suffix in _SNAPSHOT:
                    Path(f"{self.param.snapshot_prefix}_iter_{iteration}{suffix}").unlink(missing_ok=True)
        return state

    def _divide(self) -> None:
        self.param.stepvalue[:] = divisions(self._by_iteration)
