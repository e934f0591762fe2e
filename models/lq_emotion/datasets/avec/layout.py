"""Where the recordings of an AVEC 2016 or a RECOLA tree lie, and what belongs to each.

AVEC 2016, where NAME is ``train_1`` to ``test_9``: ``recordings_video/NAME.mp4``,
``recordings_video_frame_time/NAME.csv``, ``ratings_gold_standard/valence/NAME.arff``,
``ratings_individual/valence/NAME.csv``.
RECOLA: ``RECOLA-Video-recordings/P16.mp4``, ``RECOLA-Video-timings/P16.csv``,
``RECOLA-Annotation/emotional_behaviour/valence/P16.csv``.

The folders are searched for, at any depth: many copies are nested once more (``recordings_video/recordings_video/``) or
lie below ``features/`` and ``ratings/``. Case and the choice of ``-`` or ``_`` do not matter.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from caffe_compat.errors import DataError, did_you_mean

Layout = Literal["auto", "avec2016", "recola"]
Dimension = Literal["valence", "arousal"]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
PARTITIONS = ("train", "dev", "test")
VIDEO = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v")
# Which participants AVEC's test recordings are; no public text says it of train and dev.
RECOLA_TEST = {
    "P38": "test_1", "P32": "test_2", "P53": "test_3", "P63": "test_4", "P59": "test_5",
    "P13": "test_6", "P47": "test_7", "P49": "test_8", "P20": "test_9",
}  # fmt: skip


@dataclass(frozen=True)
class Recording:
    """The files of one recording; None where there is none.

    Attributes
    ----------
    name : ``train_1``; in RECOLA the participant (``P16``), but ``test_1`` where the counterpart is known.
    partition : train, dev, test, or None where it is not known.
    video, frame_time : the video and the table of its frames' times.
    gold : gold standard, ARFF.
    ratings : the raters' traces, CSV.
    boxes : face boxes somebody made, .mat or .csv.
    participant : RECOLA's name.
    """

    name: str
    partition: str | None = None
    video: Path | None = None
    frame_time: Path | None = None
    gold: Path | None = None
    ratings: Path | None = None
    boxes: Path | None = None
    participant: str | None = None

    @property
    def labelled(self) -> bool:
        """Whether there is a gold standard, or what it can be rebuilt from."""
        return self.gold is not None or self.ratings is not None


class _Kind(NamedTuple):
    folder: str
    suffixes: tuple[str, ...]
    rated: bool = False  # the dimension's name is a folder on the way


_LAYOUTS: dict[str, dict[str, _Kind]] = {
    "avec2016": {
        "video": _Kind("recordings_video", VIDEO),
        "frame_time": _Kind("recordings_video_frame_time", (".csv",)),
        "gold": _Kind("ratings_gold_standard", (".arff",), rated=True),
        "ratings": _Kind("ratings_individual", (".csv",), rated=True),
        "boxes": _Kind("bbox", (".mat", ".csv")),
    },
    "recola": {
        "video": _Kind("recola_video_recordings", VIDEO),
        "frame_time": _Kind("recola_video_timings", (".csv",)),
        "ratings": _Kind("recola_annotation", (".csv",), rated=True),
        "boxes": _Kind("bbox", (".mat", ".csv")),
    },
}


def natural(name: str) -> tuple[int, list[tuple[int, str]]]:
    """Key that sorts train_2 before train_10, and train before dev before test before anything else."""
    partition = partition_of(name)
    parts = re.split(r"(\d+)", name)
    key = [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
    return PARTITIONS.index(partition) if partition else len(PARTITIONS), key


def find_recordings(
    root: str | Path, layout: Layout = "auto", *, dimension: Dimension = "valence", skip: Sequence[Path] = ()
) -> list[Recording]:
    """Return the recordings below a folder, in natural order: train, dev, test, then the others.

    A recording is what has a video, or a table of frame times; what else is missing is None.

    Parameters
    ----------
    root : the folder of the tree, or one above it.
    layout : which tree; by default the one whose video folder is there.
    dimension : whose gold standard and ratings.
    skip : folders below it that are none of the package's, such as the one results go to.

    Raises
    ------
    DataError
        There is no such folder, no recording in it, both trees, or one file twice.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError("no such folder", file=root)
    if layout not in get_args(Layout):
        raise DataError("is unknown", field="layout", value=layout, hint=", ".join(get_args(Layout)))
    files = list(_files(root, {folder.resolve() for folder in skip}))
    name = _recognised(root, files) if layout == "auto" else layout
    found = {field: _gathered(root, files, kind, dimension) for field, kind in _LAYOUTS[name].items()}
    named = sorted({*found["video"], *found["frame_time"]}, key=natural)
    if not named:
        raise DataError(f"holds no recording in the layout {name}", file=root, hint=_expected(name))
    recordings = (
        Recording(one, video=found["video"].get(one), frame_time=found["frame_time"].get(one),
                  gold=found.get("gold", {}).get(one), ratings=found["ratings"].get(one), boxes=found["boxes"].get(one))
        for one in named
    )  # fmt: skip
    return sorted((_placed(one, name) for one in recordings), key=lambda one: natural(one.name))


def root_of(out: Path, dimension: Dimension) -> Path:
    """Return the folder of a dimension's results: ROOT for valence, as the authors have it, and ROOT/arousal."""
    return out if dimension == "valence" else out / dimension


def shared_root(out: Path, dimension: Dimension) -> Path:
    """Return ROOT, given the folder of a dimension's results."""
    return out.parent if dimension != "valence" and out.name == dimension else out


def select(recordings: Sequence[Recording], names: Sequence[str]) -> list[Recording]:
    """Return the recordings of some names, in their order; a participant's name is one as well.

    Raises
    ------
    DataError
        One is not there.
    """
    known = {key: one for one in recordings for key in (one.participant, one.name) if key}
    for name in names:
        if name not in known:
            there = ", ".join(one.name for one in recordings)
            hint = did_you_mean(name, known) or f"there are {there}"
            raise DataError("there is no such recording", field="names", value=name, hint=hint)
    return list(dict.fromkeys(known[name] for name in names))


def partition_of(name: str) -> str | None:
    """Return what a name of AVEC's says: ``dev`` for ``dev_3``; None for other names."""
    head, _, number = name.partition("_")
    return head if head in PARTITIONS and number.isdecimal() else None


def _files(root: Path, skip: set[Path]) -> Iterator[tuple[tuple[str, ...], Path]]:
    """Every file with the names of the folders on the way, spelled alike; the root's own name is the first."""
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = sorted(
            one for one in folders if not one.startswith(".") and (Path(folder) / one).resolve() not in skip
        )
        within = Path(folder).relative_to(root).parts
        if len(within) > 8:  # a link to a folder above itself would go on for ever
            folders.clear()
        way = tuple(part.lower().replace("-", "_") for part in (root.resolve().name, *within))
        yield from ((way, Path(folder) / name) for name in sorted(names) if not name.startswith("."))


def _recognised(root: Path, files: Sequence[tuple[tuple[str, ...], Path]]) -> str:
    present = {part for way, _ in files for part in way}
    found = [name for name, kinds in _LAYOUTS.items() if {kinds[k].folder for k in ("video", "frame_time")} & present]
    if len(found) > 1:
        raise DataError("holds both AVEC 2016 and RECOLA", file=root, hint="choose: --layout avec2016 or recola")
    if not found:
        hint = " or ".join(_expected(name) for name in _LAYOUTS)
        raise DataError("holds neither an AVEC 2016 nor a RECOLA tree", file=root, hint=hint)
    return found[0]


def _gathered(
    root: Path, files: Sequence[tuple[tuple[str, ...], Path]], kind: _Kind, dimension: str
) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for way, path in files:
        if kind.folder not in way or path.suffix.lower() not in kind.suffixes:
            continue
        if kind.rated and dimension not in way:
            continue
        other = found.setdefault(path.stem, path)
        if other.parent == path.parent and kind.folder == "bbox":  # .csv beside .mat: the same boxes
            found[path.stem] = max(other, path, key=lambda one: one.suffix.lower() == ".mat")
        elif other is not path:
            raise DataError(
                f"is there twice: {other.relative_to(root)} and {path.relative_to(root)}",
                file=root, field=kind.folder, value=path.stem, hint="leave one",
            )  # fmt: skip
    return found


def _placed(recording: Recording, layout: str) -> Recording:
    if layout == "recola":
        name = RECOLA_TEST.get(recording.name, recording.name)
        recording = replace(recording, name=name, participant=recording.name)
    return replace(recording, partition=partition_of(recording.name))


def _expected(layout: str) -> str:
    kinds = _LAYOUTS[layout]
    return f"{layout}: {kinds['video'].folder}/NAME.mp4 and {kinds['frame_time'].folder}/NAME.csv are expected"
