"""The demo's folder: what lies in it, whether it belongs to the wanted demo, and clearing it where it does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from caffe_compat.errors import FileError
from caffe_compat.formats.hdf5_reader import find, open_hdf5
from lq_emotion.common.json_files import contents_of, read_json
from lq_emotion.studies.robust_lq.sr_demo.image_sources import ImageSource

PICTURES = "pictures"
SETTINGS = "settings.json"
RESULTS = "results.json"
TORCH = "sr_fcn.pt"
COMPARISON = "super_resolution.png"
LOSSES = "loss.png"
_DATA = ("train.h5", "test.h5", "train.txt", "test.txt", "train.log", "net.prototxt", "solver.prototxt")
_SNAPSHOTS = "snapshots/sr_fcn_iter_*"


def settings(sources: Sequence[ImageSource], scale: int, changes: Sequence[str]) -> dict[str, Any]:
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
