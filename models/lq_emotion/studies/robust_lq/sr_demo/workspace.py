"""The demo's folder: what lies in it, whether it belongs to this demo, and clearing it if not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from caffe_compat.errors import FileError
from caffe_compat.formats.hdf5_reader import find, open_hdf5
from caffe_compat.formats.image_size import open_image
from lq_emotion.common.journal import Journal, require_folder
from lq_emotion.studies.robust_lq.sr_demo.image_sources import ImageSource
from lq_emotion.studies.robust_lq.sr_demo.results import DemoSettings

IMAGES = "images"
SETTINGS = "settings.json"
DEMO = "demo"  # in the journal
RESULTS = "results.json"
TORCH = "sr_fcn.pt"
COMPARISON = "super_resolution.png"
LOSSES = "loss.png"
_DATA = ("train.h5", "test.h5", "train.txt", "test.txt", "train.log", "net.prototxt", "solver.prototxt")
_SNAPSHOTS = "snapshots/sr_fcn_iter_*"


def settings(sources: Sequence[ImageSource], scale: int, changes: Sequence[str]) -> DemoSettings:
    """Return the settings of a demo."""
    return DemoSettings(
        scale=scale,
        recipe=tuple(change for change in changes if not change.startswith(("max_iter", "test_iter"))),
        images={source.name: source.identity for source in sources},
        held_out=tuple(source.name for source in sources if source.held_out),
        focus={source.name: source.focus for source in sources if source.focus},
    )


def open_journal(out: Path) -> Journal:
    """Return the journal of the demo in a folder.

    Raises
    ------
    FileError
        The journal is damaged.
    """
    return Journal(out / SETTINGS, root=out, hint="choose another folder, or remove this one")


def claim(out: Path, journal: Journal, made_from: str, say: Callable[[str], None], *, fresh: bool) -> bool:
    """Make the folder, remove another demo's files, and return whether the images of this demo are written.

    Raises
    ------
    FileError
        It holds files of the demo's names that no demo wrote.
    """
    require_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    own_files = [path for path in _own_files(out) if path.exists()]
    journal.require_own(own_files, "demo")
    if not journal.exists:
        return False
    if journal.is_done(DEMO, made_from) and not fresh:
        return True
    if journal.entry(DEMO).get("fingerprint") != made_from:
        say(f"{out} holds a demo of other images or settings: starting over")
    elif not fresh:
        return False
    journal.clear(own_files)
    return False


def _own_files(out: Path) -> list[Path]:
    paths = [out / name for name in (RESULTS, TORCH, COMPARISON, LOSSES, *_DATA)]
    return paths + list(out.glob(_SNAPSHOTS))


def count_pixels(paths: Sequence[Path]) -> int:
    """Return the number of pixels of some images."""
    total = 0
    for path in paths:
        with open_image(path) as image:
            total += image.width * image.height
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
        problem, hint = f"damaged HDF5 file: {error}", "start over with --fresh"
        raise FileError(problem, code="damaged-file", file=data, hint=hint) from None
