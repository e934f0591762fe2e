"""A rate that is divided by ten when the loss of the tests stops falling, as the paper tells of its training.

Caffe has no such policy. A solver of policy "multistep" gets its steps from here as its tests come in. They follow from
the losses of the tests alone, which lie in plateau.json: a killed run that goes on from a snapshot forgets the tests
behind it, makes them again and ends in the same weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from caffe_compat.errors import FileError, SolverError
from caffe_compat.formats.files import read_solverstate
from caffe_compat.solver import Solver
from caffe_compat.solver.testing import Scores
from lq_emotion.common.json_files import contents_of, read_json, write_json

PLATEAU = "plateau.json"
PATIENCE = 3
"""Tests in a row that are no better than the best before the rate is divided; a number of ours, as is `MOST`."""
MOST = 3
"""Divisions at most."""


def divisions(losses: Mapping[int, float], *, patience: int = PATIENCE, most: int = MOST) -> list[int]:
    """Return the iterations whose tests divide the rate.

    Parameters
    ----------
    losses : of the tests so far, by iteration.
    patience, most : see `PATIENCE` and `MOST`. After a division the tests are counted anew; the best stays the best.
        A loss that is no number is no better than any.
    """
    best, waited = float("inf"), 0
    found: list[int] = []
    for iteration, loss in sorted(losses.items()):
        if loss < best:
            best, waited = loss, 0
            continue
        waited += 1
        if waited == patience and len(found) < most:
            found.append(iteration)
            waited = 0
    return found


@dataclass
class History:
    """The losses of a run's tests, kept in a file.

    Attributes
    ----------
    path : of the file.
    losses : by iteration.
    """

    path: Path
    losses: dict[int, float] = field(default_factory=dict)

    def begin(self, iteration: int) -> None:
        """Take the tests before an iteration from the file; none at the start of a run.

        Raises
        ------
        FileError
            It is no such file.
        """
        held = read_json(self.path) if iteration else None
        with contents_of(self.path, "--fresh starts anew"):
            known = {int(number): float(loss) for number, loss in (held or {}).items()}
        self.losses = {number: loss for number, loss in known.items() if number < iteration}

    def note(self, iteration: int, loss: float) -> None:
        """Add a test."""
        self.losses[iteration] = loss
        write_json({str(number): value for number, value in self.losses.items()}, self.path)


class PlateauSolver(Solver):
    """A solver whose first test net decides when the rate is divided.

    Parameters
    ----------
    tests : what is known of earlier tests.
    options : of `Solver`; the policy of its definition is "multistep".
    """

    def __init__(self, *args: Any, tests: History, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.param.lr_policy != "multistep":
            raise SolverError("has steps of its own", field="lr_policy", value=self.param.lr_policy, hint="multistep")
        self._tested = tests
        tests.begin(0)

    def restore(self, path: Any, **options: Any) -> None:
        """Go on from a snapshot, with the steps that the tests before it made.

        Raises
        ------
        FileError
            The file of tests does not tell of all those steps.
        """
        super().restore(path, **options)
        self._tested.begin(self.iter)
        self._divide()
        taken = read_solverstate(path).current_step
        if taken != len(self.param.stepvalue):
            told = f"tells of {len(self.param.stepvalue)} divisions of the rate, {Path(path).name} of {taken}"
            raise FileError(told, file=self._tested.path, hint="--fresh starts anew")

    def test(self, which: int) -> Scores | None:
        """Run a test net; the first one's loss may divide the rate, from this iteration on."""
        found = super().test(which)
        if found is not None and which == 0:
            self._tested.note(self.iter, found.loss)
            self._divide()
        return found

    def _divide(self) -> None:
        self.param.stepvalue[:] = divisions(self._tested.losses)
