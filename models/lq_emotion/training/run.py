"""One training in its folder: whose snapshots it has, training with the engine's solver, and continuing.

The folder has a journal, Caffe's log, and the snapshots of a killed or interrupted training, which continues from the
last one.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Never

import torch
from tqdm import tqdm

from caffe_compat.errors import CaffeCompatError, FileError, SolverError, raise_together
from caffe_compat.formats.files import format_text, write_text
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver import Action, CaffeLog, SignalActions, Solver
from caffe_compat.solver.nets import Criterion
from lq_emotion.common.fingerprints import file_sha256, fingerprint
from lq_emotion.common.folders import require_folder
from lq_emotion.common.journal import Journal
from lq_emotion.common.json_files import contents_of
from lq_emotion.common.progress import Say
from lq_emotion.common.records import Record
from lq_emotion.nets.names import Net
from lq_emotion.training.plateau import PLATEAU, PlateauSolver

SETTINGS = "settings.json"  # the journal
RESULTS = "train.json"
LOSSES = "loss.png"
_ENTRY = "training"
DEPLOY = "deploy.prototxt"
"""The net to apply, where switches change it."""
_OWN_FILES = (
    *(RESULTS, LOSSES, PLATEAU),
    *("train.log", "net.prototxt", "solver.prototxt", DEPLOY),
)
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
        states = dict(_snapshots(self.prefix.parent, "solverstate", self.name))
        fitting = [count for count in states if count <= limit and self.snapshot(count).is_file()]
        return states[max(fitting)] if fitting else None

    def snapshots(self) -> list[Path]:
        """Return the files of all snapshots."""
        kinds = ("caffemodel", "solverstate", "resume.npz")
        return [path for kind in kinds for _, path in _snapshots(self.prefix.parent, kind, self.name)]

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

            tests = self.folder / PLATEAU
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


@dataclass(frozen=True)
class TrainingIdentity(Record):
    """The facts that distinguish trainings; data and weights are names of files and their SHA-256.

    `mean` and `std` are those by which the data were normalised; None for nothing.
    """

    net: Net
    changes: tuple[str, ...]
    data: tuple[tuple[str, ...], ...]
    weights: tuple[str, ...] | None
    mean: float | None = None
    std: float | None = None


def train(
    run: Run,
    net: pb.NetParameter,
    solver: pb.SolverParameter,
    say: Say,
    *,
    inputs: Sequence[Path] = (),
    longer: bool = False,
    **options: Any,
) -> Path:
    """Train in a folder, or go on there, and return the last snapshot.

    The definitions are written to net.prototxt and solver.prototxt. `inputs` are the files that decide the training
    together with them: data, and weights to start from; given them, snapshots and log of another training are removed.
    With `longer`, a solver with more iterations continues the training. `options` are those of `Run.train`.
    """
    if inputs:
        deciding = pb.SolverParameter()
        deciding.CopyFrom(solver)
        for name in ("net", "snapshot_prefix", *(("max_iter",) if longer else ())):
            deciding.ClearField(name)
        _keep_only(run, fingerprint([format_text(net), format_text(deciding), *map(file_sha256, inputs)]))
    run.prefix.parent.mkdir(parents=True, exist_ok=True)
    last = run.snapshot(solver.max_iter)
    if not last.is_file():
        write_text(net, run.folder / "net.prototxt")
        write_text(solver, run.folder / "solver.prototxt")
        run.train(solver, say, **options)
    return last


def _keep_only(run: Run, made_from: str) -> None:
    """Note what decides the training; remove snapshots and logs of one that other things decided."""
    journal = Journal(run.folder / SETTINGS, root=run.folder)
    if not journal.is_done(_ENTRY, made_from):
        own_files = [run.log, run.folder / PLATEAU, *run.snapshots()]
        journal.require_own(own_files, "training")
        journal.clear(own_files)
        journal.note(_ENTRY, made_from)


def claim(run: Run, identity: TrainingIdentity, *, fresh: bool, aside: Path | None, say: Say) -> None:
    """Make the folder that of a training.

    `fresh` deletes the files of an earlier run; `aside` is the folder to move the files of another training to. Without
    either, another training is refused, and always files of the same names that no training wrote.
    """
    folder = run.folder
    require_folder(folder)
    journal = Journal(folder / SETTINGS, root=folder, hint="choose another --out, or remove the folder")
    own_files = [*(folder / name for name in _OWN_FILES), *run.snapshots()]
    journal.require_own(own_files, "training")
    made_from = fingerprint(identity.to_json())
    if fresh and journal.exists:
        journal.clear(own_files)
    elif journal.exists and not journal.is_done(_ENTRY, made_from):
        if aside is None:
            _refuse(journal, identity)
        else:
            _move(folder, aside, say)
    run.prefix.parent.mkdir(parents=True, exist_ok=True)
    Journal(journal.path, root=folder).note(_ENTRY, made_from, settings=identity.to_json())


def _move(folder: Path, aside: Path, say: Say) -> None:
    aside.mkdir(parents=True, exist_ok=True)
    number = 1
    while (target := aside / f"{folder.name}-{number}").exists():
        number += 1
    folder.rename(target)
    say(f"{folder.name} had another training, now in {target}")


def training_in(folder: Path) -> TrainingIdentity | None:
    """Return what distinguishes the training in a folder; None if there is none."""
    journal = Journal(folder / SETTINGS, root=folder)
    if not journal.exists or not journal.entry(_ENTRY):
        return None
    with contents_of(journal.path):
        return TrainingIdentity.from_json(journal.entry(_ENTRY)["settings"])


def _refuse(journal: Journal, identity: TrainingIdentity) -> None:
    """Raise the differences between the training in the folder and this one."""
    with contents_of(journal.path):
        earlier = TrainingIdentity.from_json(journal.entry(_ENTRY)["settings"]).to_json()
    now, folder = identity.to_json(), journal.path.parent
    raise_together([_difference(name, earlier[name], now[name], folder) for name in now if earlier[name] != now[name]])


def _difference(name: str, earlier: Any, now: Any, folder: Path) -> CaffeCompatError:
    what = {"data": "other training data", "weights": "other weights to start from"}
    problem = f"contains a training with {what.get(name, f'{name} {earlier}, now {now}')}"
    hint = "--fresh starts over, or choose another --out"
    return SolverError(problem, code="mismatch", file=folder, field=name, hint=hint)


def find_weights(path: Path) -> Path:
    """Return a weights file: the given one or, in the folder of a run, the latest snapshot."""
    if path.is_file():
        return path
    if not path.is_dir():
        hint = "pass a .caffemodel, or the folder of a run"
        raise FileError("file not found", code="file-missing", file=path, hint=hint)
    snapshots = [*_snapshots(path, "caffemodel"), *_snapshots(path / "snapshots", "caffemodel")]
    if not snapshots:
        hint = "run `lq-emotion study train` first"
        raise FileError("no snapshot found", code="not-prepared", file=path, hint=hint)
    return max(snapshots)[1]


def _snapshots(folder: Path, suffix: str, name: str | None = None) -> Iterator[tuple[int, Path]]:
    """Yield iteration and path of the files NAME_iter_ITERATION.SUFFIX in a folder; by default of any name."""
    prefix = ".*" if name is None else re.escape(name)
    pattern = re.compile(rf"{prefix}_iter_(\d+)\.{re.escape(suffix)}", re.DOTALL)
    for path in folder.glob(f"*.{suffix}"):
        if match := pattern.fullmatch(path.name):
            yield int(match[1]), path


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
