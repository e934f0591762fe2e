"""The folder of a training: its journal, which tells whose snapshots it has, and how another takes it over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caffe_compat.errors import CaffeCompatError, SolverError, raise_together
from caffe_compat.formats.files import format_text, write_text
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.common.fingerprints import file_sha256, fingerprint
from lq_emotion.common.journal import Journal, require_folder
from lq_emotion.common.json_files import contents_of
from lq_emotion.common.progress import Say
from lq_emotion.common.records import Record
from lq_emotion.nets.names import Net
from lq_emotion.training.plateau import PLATEAU
from lq_emotion.training.trainer import Run

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


@dataclass(frozen=True)
class TrainingIdentity(Record):
    """What distinguishes trainings; data and weights are names of files and their SHA-256.

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
        own_files = [run.log, run.folder / PLATEAU, *_snapshots(run)]
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
    own_files = [*(folder / name for name in _OWN_FILES), *_snapshots(run)]
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
    say(f"{folder.name} held another training, now in {target}")


def _snapshots(run: Run) -> list[Path]:
    return [
        path
        for kind in ("caffemodel", "solverstate", "resume.npz")
        for path in run.prefix.parent.glob(f"{run.name}_iter_*.{kind}")
    ]


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
    problem = f"holds a training with {what.get(name, f'{name} {earlier}, now {now}')}"
    hint = "--fresh starts over, or choose another --out"
    return SolverError(problem, code="mismatch", file=folder, field=name, hint=hint)
