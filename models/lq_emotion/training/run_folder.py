"""The folder of a training: whose it is, and making it another's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from caffe_compat.errors import CaffeCompatError, FileError, SolverError, raise_together
from lq_emotion.common.json_files import read_json, write_json
from lq_emotion.training.plateau import PLATEAU
from lq_emotion.training.trainer import Run

Say = Callable[[str], None]
SETTINGS = "settings.json"
RESULTS = "train.json"
LOSSES = "loss.png"
DEPLOY = "deploy.prototxt"
"""The net to apply, where switches make it another one than the authors'."""
_OURS = (
    *(SETTINGS, RESULTS, LOSSES, PLATEAU),
    *("train.log", "net.prototxt", "solver.prototxt", DEPLOY),
)


def claim(run: Run, wanted: dict[str, Any], *, fresh: bool, aside: Path | None, say: Say) -> None:
    """Make the folder the training's that `wanted` tells.

    Parameters
    ----------
    run, wanted : the folder, and what tells one training from another.
    fresh : forget what an earlier run left.
    aside : a folder that another training's files are moved to.
    say : takes lines of progress.

    Raises
    ------
    FileError, SolverError
        It holds another training, and there is no `aside`, or files of the same names that no training wrote.
    """
    out = run.folder
    if out.exists() and not out.is_dir():
        raise FileError("this is a file; a folder is expected", file=out)
    settings = out / SETTINGS
    found = read_json(settings)
    ours = [path for path in (*(out / name for name in _OURS), *_snapshots(run)) if path.exists()]
    if found is None and ours:
        raise FileError(f"holds {ours[0].name}, which no training wrote", file=out, hint="choose another --out")
    if found is not None and fresh:
        for path in sorted(ours, key=lambda path: path == settings):  # the settings last
            path.unlink(missing_ok=True)
    elif found is not None and found != wanted:
        if aside is None:
            raise_together(
                [
                    _differs(name, found.get(name), wanted.get(name), out)
                    for name in {**wanted, **found}
                    if found.get(name) != wanted.get(name)
                ]
            )
        else:
            _move(out, aside, say)
    run.prefix.parent.mkdir(parents=True, exist_ok=True)
    write_json(wanted, settings)


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


def _differs(name: str, found: Any, wanted: Any, out: Path) -> CaffeCompatError:
    told = {"data": "other training data", "weights": "other weights to start from"}.get(
        name, f"{name} {found}, now {wanted}"
    )
    return SolverError(f"holds a training with {told}", file=out, hint="--fresh starts anew, or choose another --out")
