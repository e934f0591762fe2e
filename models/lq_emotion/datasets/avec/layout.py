"""Find the recordings of an AVEC 2016 or RECOLA tree and the files of each.

AVEC 2016, where NAME is ``train_1`` to ``test_9``: ``recordings_video/NAME.mp4``,
``recordings_video_frame_time/NAME.csv``, ``ratings_gold_standard/valence/NAME.arff``,
``ratings_individual/valence/NAME.csv``.
RECOLA: ``RECOLA-Video-recordings/P16.mp4``, ``RECOLA-Video-timings/P16.csv``,
``RECOLA-Annotation/emotional_behaviour/valence/P16.csv``.

The folders may lie at any depth: many copies nest them (``recordings_video/recordings_video/``) or put them below
``features/`` and ``ratings/``. Case does not matter, nor does ``-`` or ``_``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from caffe_compat.errors import DataError, did_you_mean
from lq_emotion.common.lists import natural_key

Layout = Literal["auto", "avec2016", "recola"]
Dimension = Literal["valence", "arousal", "both"]
DIMENSIONS: tuple[Dimension, ...] = ("valence", "arousal")
"""The dimensions of labels, in the order in which files with both have them."""
PARTITIONS = ("train", "dev", "test")
VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v")
# The participants in AVEC's test recordings; those of train and dev are not published.
_RECOLA_TEST = {
    "P38": "test_1", "P32": "test_2", "P53": "test_3", "P63": "test_4", "P59": "test_5",
    "P13": "test_6", "P47": "test_7", "P49": "test_8", "P20": "test_9",
}  # fmt: skip


@dataclass(frozen=True)
class Recording:
    """The files of a recording; None where one is missing."""

    name: str
    """``train_1``; in RECOLA the participant (``P16``), or ``test_1`` where AVEC's name is known."""
    partition: str | None = None
    """Train, dev or test; None if unknown."""
    video: Path | None = None
    frame_time: Path | None = None
    gold: Path | None = None
    ratings: Path | None = None
    """The raters' traces."""
    boxes: Path | None = None
    participant: str | None = None
    """RECOLA's name."""
    arousal: Recording | None = None
    """Where both dimensions are requested, the same recording with the labels of arousal; here are those of valence."""

    @property
    def labelled(self) -> bool:
        """Whether there is a gold standard, or raters' traces to rebuild it from, of all requested dimensions."""
        own = self.gold is not None or self.ratings is not None
        return own and (self.arousal is None or self.arousal.labelled)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that crops are made from, without the boxes."""
        labels = (path for one in (self, self.arousal) if one is not None for path in (one.gold, one.ratings))
        return tuple(path for path in (self.video, self.frame_time, *labels) if path is not None)

    def by_dimension(self, dimension: Dimension) -> dict[str, Recording]:
        """Return the recording with the labels of each dimension, if `find_recordings` looked for this one."""
        return {dimension: self} if self.arousal is None else {"valence": self, "arousal": self.arousal}


class _FileKind(NamedTuple):
    folder: str
    suffixes: tuple[str, ...]
    per_dimension: bool = False  # below a folder with the dimension's name


_LAYOUTS: dict[str, dict[str, _FileKind]] = {
    "avec2016": {
        "video": _FileKind("recordings_video", VIDEO_SUFFIXES),
        "frame_time": _FileKind("recordings_video_frame_time", (".csv",)),
        "gold": _FileKind("ratings_gold_standard", (".arff",), per_dimension=True),
        "ratings": _FileKind("ratings_individual", (".csv",), per_dimension=True),
        "boxes": _FileKind("bbox", (".mat", ".csv")),
    },
    "recola": {
        "video": _FileKind("recola_video_recordings", VIDEO_SUFFIXES),
        "frame_time": _FileKind("recola_video_timings", (".csv",)),
        "ratings": _FileKind("recola_annotation", (".csv",), per_dimension=True),
        "boxes": _FileKind("bbox", (".mat", ".csv")),
    },
}


def natural_order(name: str) -> tuple[int, list[tuple[int, str]]]:
    """Return a sort key: train before dev before test before other names, and train_2 before train_10."""
    partition = partition_of(name)
    return PARTITIONS.index(partition) if partition else len(PARTITIONS), natural_key(name)


def find_recordings(
    root: str | Path, layout: Layout = "auto", *, dimension: Dimension = "valence", skip: Sequence[Path] = ()
) -> list[Recording]:
    """Find the recordings below a folder, at any depth, in natural order.

    A recording has a video or a table of frame times; its other files may be missing. `dimension` chooses the gold
    standard and the ratings; see `Recording.arousal` for both. Folders in `skip`, such as that of results, are ignored.
    Two kinds of tree, and two files of a kind for a recording, are refused.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError("no such folder", code="file-missing", file=root)
    files = list(_files(root, {folder.resolve() for folder in skip}))
    tree = _detect_layout(root, files) if layout == "auto" else layout
    if dimension != "both":
        return _recordings(root, files, tree, dimension)
    pairs = zip(*(_recordings(root, files, tree, name) for name in DIMENSIONS), strict=True)
    return [replace(valence, arousal=arousal) for valence, arousal in pairs]


def dimension_root(out: Path, dimension: Dimension) -> Path:
    """Return the folder of results: ROOT for valence, as in the authors' code; ROOT/arousal; ROOT/both."""
    return out if dimension == "valence" else out / dimension


def shared_root(out: Path, dimension: Dimension) -> Path:
    """Return ROOT, given the folder of a dimension's results."""
    return out.parent if dimension != "valence" and out.name == dimension else out


def select_recordings(recordings: Sequence[Recording], names: Sequence[str]) -> list[Recording]:
    """Return the recordings with these names or participants, in the order of the names, without repetition."""
    by_name = {name: recording for recording in recordings for name in (recording.participant, recording.name) if name}
    for name in names:
        if name not in by_name:
            present = ", ".join(recording.name for recording in recordings)
            hint = did_you_mean(name, by_name) or f"the recordings are {present}"
            raise DataError("no such recording", code="name-unknown", field="names", value=name, hint=hint)
    return list(dict.fromkeys(by_name[name] for name in names))


def avec_name(name: str) -> str:
    """Translate a RECOLA participant to AVEC's name where it is known; return other names unchanged."""
    return _RECOLA_TEST.get(name, name)


def partition_of(name: str) -> str | None:
    """Return the partition in AVEC's name, ``dev`` in ``dev_3``; None for other names."""
    head, _, number = name.partition("_")
    return head if head in PARTITIONS and number.isdecimal() else None


def _files(root: Path, skip: set[Path]) -> Iterator[tuple[tuple[str, ...], Path]]:
    """Yield each file with the names of its folders from the root's on, in lower case with ``_`` for ``-``."""
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and (Path(folder) / name).resolve() not in skip
        )
        within = Path(folder).relative_to(root).parts
        if len(within) > 8:  # a link to a folder above itself never ends
            folders.clear()
        parents = tuple(part.lower().replace("-", "_") for part in (root.resolve().name, *within))
        yield from ((parents, Path(folder) / name) for name in sorted(names) if not name.startswith("."))


def _recordings(
    root: Path, files: Sequence[tuple[tuple[str, ...], Path]], tree: str, dimension: str
) -> list[Recording]:
    paths = {kind: _collect(root, files, where, dimension) for kind, where in _LAYOUTS[tree].items()}
    names = {*paths["video"], *paths["frame_time"]}
    if not names:
        raise DataError(f"no recording in the layout {tree}", code="empty", file=root, hint=_expected_files(tree))
    recordings = []
    for name in names:
        own, participant = (avec_name(name), name) if tree == "recola" else (name, None)
        files_of: dict[str, Any] = {kind: by_name.get(name) for kind, by_name in paths.items()}
        recordings.append(Recording(own, partition_of(own), participant=participant, **files_of))
    return sorted(recordings, key=lambda recording: natural_order(recording.name))


def _detect_layout(root: Path, files: Sequence[tuple[tuple[str, ...], Path]]) -> str:
    present = {parent for parents, _ in files for parent in parents}
    layouts = [name for name, kinds in _LAYOUTS.items() if {kinds[k].folder for k in ("video", "frame_time")} & present]
    if len(layouts) > 1:
        hint = "choose --layout avec2016 or --layout recola"
        raise DataError("both an AVEC 2016 and a RECOLA tree", code="ambiguous", file=root, hint=hint)
    if not layouts:
        hint = " or ".join(_expected_files(name) for name in _LAYOUTS)
        raise DataError("neither an AVEC 2016 nor a RECOLA tree", code="wrong-format", file=root, hint=hint)
    return layouts[0]


def _collect(
    root: Path, files: Sequence[tuple[tuple[str, ...], Path]], kind: _FileKind, dimension: str
) -> dict[str, Path]:
    """Return the files of a kind by the name of their recording."""
    by_name: dict[str, Path] = {}
    for parents, path in files:
        if kind.folder not in parents or path.suffix.lower() not in kind.suffixes:
            continue
        if kind.per_dimension and dimension not in parents:
            continue
        other = by_name.setdefault(path.stem, path)
        if other.parent == path.parent and kind.folder == "bbox":  # .csv next to .mat: the same boxes
            by_name[path.stem] = max(other, path, key=lambda file: file.suffix.lower() == ".mat")
        elif other is not path:
            raise DataError(
                f"two files: {other.relative_to(root)} and {path.relative_to(root)}",
                code="duplicate", file=root, field=kind.folder, value=path.stem, hint="remove one",
            )  # fmt: skip
    return by_name


def _expected_files(layout: str) -> str:
    kinds = _LAYOUTS[layout]
    return f"{layout} has {kinds['video'].folder}/NAME.mp4 and {kinds['frame_time'].folder}/NAME.csv"
