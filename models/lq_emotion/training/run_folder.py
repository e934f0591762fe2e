"""The folder of a training: whose it is, and making it another's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from caffe_compat.errors import CaffeCompatError, SolverError, raise_together
from lq_emotion.common.fingerprints import fingerprint
from lq_emotion.common.journal import Journal, require_folder
from lq_emotion.common.json_files import contents_of
from lq_emotion.training.plateau import PLATEAU
from lq_emotion.training.trainer import Run

Say = Callable[[str], None]
SETTINGS = "settings.json"
RESULTS = "train.json"
LOSSES = "loss.png"
_ENTRY = "training"  # in the journal
DEPLOY = "deploy.prototxt"
"""The net to apply, where switches make it another one than the authors'."""
_OWN_FILES = (
    *(RESULTS, LOSSES, PLATEAU),
    *("train.log", "net.prototxt", "solver.prototxt", DEPLOY),
)


def claim(run: Run, settings: dict[str, Any], *, fresh: bool, aside: Path | None, say: Say) -> None:
    """Make the folder that of the training with these settings.

    Parameters
    ----------
    run, settings : the folder, and what tells one training from another.
    fresh : forget what an earlier run left.
    aside : a folder that another training's files are moved to.
    say : takes lines of progress.

    Raises
    ------
    FileError, SolverError
        The folder holds another training and there is no `aside`, or files of the same names that no training wrote.
    """
    folder = run.folder
    require_folder(folder)
    journal = Journal(folder / SETTINGS, root=folder, hint="choose another --out, or remove the folder")
    own_files = [*(folder / name for name in _OWN_FILES), *_snapshots(run)]
    journal.require_own(own_files, "training")
    made_from = fingerprint(settings)
    if fresh and journal.exists:
        journal.clear(own_files)
    elif journal.exists and not journal.is_done(_ENTRY, made_from):
        if aside is None:
            _refuse(journal, settings)
        else:
            _move(folder, aside, say)
    run.prefix.parent.mkdir(parents=True, exist_ok=True)
    Journal(journal.path, root=folder).note(_ENTRY, made_from, settings=settings)


def _move(folder: Path, aside: Path, say: Say) -> None:
    aside.mkdir(parents=True, exist_ok=True)
    number = 1
    while (target := aside / f"{folder.name}-{number}").exists():
        number += 1
    folder.rename(target)
    say(f"{folder.name} was another training, which is in {target} now")


def _snapshots(run: Run) -> list[Path]:
    return [
        path
        for kind in ("caffemodel", "solverstate", "resume.npz")
        for path in run.prefix.parent.glob(f"{run.name}_iter_*.{kind}")
    ]


def _refuse(journal: Journal, settings: dict[str, Any]) -> None:
    """Raise what tells the training in the folder from the one with these settings."""
    with contents_of(journal.path):
        earlier = {**journal.entry(_ENTRY)["settings"]}
    changed = [name for name in {**settings, **earlier} if earlier.get(name) != settings.get(name)]
    raise_together([_difference(name, earlier.get(name), settings.get(name), journal.path.parent) for name in changed])


def _difference(name: str, earlier: Any, now: Any, folder: Path) -> CaffeCompatError:
    what = {"data": "other training data", "weights": "other weights to start from"}
    problem = f"holds a training with {what.get(name, f'{name} {earlier}, now {now}')}"
    hint = "--fresh starts anew, or choose another --out"
    return SolverError(problem, code="mismatch", file=folder, field=name, hint=hint)
