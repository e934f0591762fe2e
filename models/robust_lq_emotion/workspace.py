"""The demo's folder: what lies in it, whether it belongs to the wanted demo, and clearing it where it does not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from caffe_compat.errors import FileError
from caffe_compat.files import atomic_path
from caffe_compat.models.robust_lq_emotion.pictures import Source
from caffe_compat.proto.hdf5_reader import find, open_hdf5

PICTURES = "pictures"
SETTINGS = "settings.json"
RESULTS = "results.json"
TORCH = "sr_fcn.pt"
COMPARISON = "super_resolution.png"
LOSSES = "loss.png"
_DATA = ("train.h5", "test.h5", "train.txt", "test.txt", "train.log", "net.prototxt", "solver.prototxt")
_SNAPSHOTS = "snapshots/sr_fcn_iter_*"


def settings(sources: Sequence[Source], scale: int, changes: Sequence[str]) -> dict[str, Any]:
    """Return what tells one demo from another; the number of iterations does not."""
    return {
        "scale": scale,
        "recipe": [change for change in changes if not change.startswith(("max_iter", "test_iter"))],
        "pictures": {source.name: source.identity for source in sources},
        "held_out": [source.name for source in sources if source.held_out],
        "focus": {source.name: list(source.focus) for source in sources if source.focus},
    }


def prepare(out: Path, wanted: dict[str, Any], say: Callable[[str], None], *, fresh: bool) -> bool:
    """Make the folder; tell whether it holds the pictures of the wanted demo. Another demo's files are removed.

    Raises
    ------
    FileError
        It holds files of the demo's names that no demo wrote.
    """
    out.mkdir(parents=True, exist_ok=True)
    found = read_json(out / SETTINGS)
    if found is None:
        foreign = [path.name for path in _ours(out) if path.exists()]
        if foreign:
            raise FileError(f"holds {foreign[0]}, which no demo wrote", file=out, hint="choose another folder: --out")
        return False
    if found == wanted and not fresh:
        return all(path.is_file() for path in _pictures(out, wanted))
    if found != wanted:
        say(f"{out} holds a demo of other pictures or settings: starting anew")
    with contents_of(out / SETTINGS):
        pictures = _pictures(out, found)
    for path in (*pictures, *_ours(out), out / SETTINGS):  # the settings last: a killed run begins again
        path.unlink(missing_ok=True)
    return False


def _pictures(out: Path, of: dict[str, Any]) -> list[Path]:
    return [out / PICTURES / ("test" if name in of["held_out"] else "train") / f"{name}.png" for name in of["pictures"]]


def _ours(out: Path) -> list[Path]:
    named = [out / name for name in (RESULTS, TORCH, COMPARISON, LOSSES, *_DATA)]
    return named + list(out.glob(_SNAPSHOTS))


def read_json(path: Path) -> Any:
    """Return the object in a JSON file, as the commands write one; None where there is no file.

    Raises
    ------
    FileError
        It is no JSON, or no object.
    """
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise FileError(f"is no JSON: {error}", file=path, hint="remove it") from None
    if not isinstance(content, dict):
        raise FileError("holds no JSON object; a command writes one here", file=path, hint="remove it")
    return content


@contextmanager
def contents_of(path: Path, hint: str = "remove it and run again") -> Iterator[None]:
    """Around what takes values out of a JSON file: one that does not hold them is an error that names the file.

    Raises
    ------
    FileError
        A value is missing, or is of another kind than a command writes there.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        problem = f"does not hold what a command writes there ({type(error).__name__}: {error})"
        raise FileError(problem, file=path, hint=hint) from error


def write_json(value: Any, path: Path) -> None:
    """Write a JSON file, complete or not at all."""
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def write_list(files: Sequence[Path], path: Path) -> None:
    """Write a list of HDF5 files as HDF5Data reads it; names are relative to the list, so that both can be moved."""
    write_lines([_relative(file, path) for file in files], path)


def write_lines(lines: Sequence[str], path: Path) -> None:
    """Write lines, complete or not at all."""
    with atomic_path(path) as partial:
        partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _relative(file: Path, path: Path) -> str:
    name = Path(os.path.relpath(file.resolve(), path.parent.resolve())).as_posix()
    name = name if name.startswith("../") else f"./{name}"
    return name if len(name.split()) == 1 else f'"{name}"'


def count_pixels(paths: Sequence[Path]) -> int:
    """Return the number of pixels of some pictures."""
    total = 0
    for path in paths:
        with Image.open(path) as picture:
            total += picture.width * picture.height
    return total


def count_rows(data: Path) -> int:
    """Return the number of patches in an HDF5 file.

    Raises
    ------
    FileError
        It is damaged.
    """
    try:
        with open_hdf5(data) as file:
            return int(find(file, "data", data).shape[0])
    except (OSError, KeyError, AttributeError) as error:
        raise FileError(f"this HDF5 file is damaged: {error}", file=data, hint="--fresh starts anew") from None
