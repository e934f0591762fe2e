"""Crops of all recordings of a tree, several at a time; an interrupted run resumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tqdm import tqdm

from caffe_compat.errors import CaffeCompatError, DataError, FileError
from lq_emotion.common.document import Column, Table, row
from lq_emotion.common.folders import require_folder
from lq_emotion.common.jobs import run_all
from lq_emotion.common.json_files import find_record, write_json
from lq_emotion.common.progress import Say
from lq_emotion.common.records import Record
from lq_emotion.crops.recording import (
    JOURNALS,
    Outcome,
    PreparationSettings,
    earlier_outcome,
    has_labels,
    journal_of,
    mat_path,
    places_of_labels,
    prepare_one,
)
from lq_emotion.datasets.avec.layout import (
    Dimension,
    Layout,
    Recording,
    find_recordings,
    natural_order,
    select_recordings,
    shared_root,
)
from lq_emotion.datasets.avec.partitions import Partitions, write_partitions
from lq_emotion.datasets.avec.times import frame_times

RESULTS = Path("data") / "prepare.json"


@dataclass(frozen=True)
class Preparation(Record):
    """prepare.json: the outcome of every recording, of this run and of earlier ones."""

    recordings: tuple[Outcome, ...]


def prepared_recordings(out: Path) -> tuple[Outcome, ...]:
    """Return the outcomes in ROOT/data/prepare.json; none if there is no such file."""
    preparation = find_record(out / RESULTS, Preparation)
    return () if preparation is None else preparation.recordings


def prepare(
    recordings: str | Path,
    out: str | Path,
    settings: PreparationSettings | None = None,
    *,
    layout: Layout = "auto",
    names: Sequence[str] = (),
    partitions: Partitions | None = None,
    boxes: str | Path | None = None,
    unlabelled: bool = False,
    jobs: int = 1,
    cluster: str | None = None,
    fresh: bool = False,
    say: Say = print,
) -> list[Outcome]:
    """Make the crops of recordings of an AVEC 2016 or RECOLA tree; return their outcomes in natural order.

    A recording that fails does not stop the rest. ROOT/data/prepare.json contains the outcomes and those of earlier
    runs. `out` is ROOT, the folder of all results (the authors' CAFFE_EMOTION), or `avec.layout.dimension_root` for
    other labels than valence. `partitions` are stored next to the crops; by default those stored there count, else
    those of AVEC's names. `boxes` is a folder with NAME.mat or NAME.csv. Workers of a cluster need all folders.
    """
    out, settings = Path(out).resolve(), settings or PreparationSettings()
    shared = shared_root(out, settings.dimension)
    available = find_recordings(recordings, layout, dimension=settings.dimension, skip=[shared])
    if names or unlabelled:
        chosen = select_recordings(available, names) if names else available
    else:
        chosen = _labelled(available, out, settings.dimension, say)
    if shared != out:
        chosen = [_with_boxes(recording, shared) for recording in chosen]
    box_folder = None if boxes is None else Path(boxes).resolve()
    if box_folder is not None and not box_folder.is_dir():
        raise FileError("no such folder", code="file-missing", file=box_folder, field="boxes")
    every = [recording.name for recording in available]
    if partitions is not None:
        partitions.require_known(every, Path(recordings), "train", "dev")
    require_folder(out / "data")
    (out / "data").mkdir(parents=True, exist_ok=True)
    if partitions is not None:
        write_partitions(partitions, every, out / "data")
    say(f"{len(chosen)} recordings to {out}")
    outcomes = []
    work = partial(prepare_one, out=out, settings=settings, boxes=box_folder, unlabelled=unlabelled, fresh=fresh)
    done = run_all(
        work, chosen, jobs=jobs, cluster=cluster, unit="recordings", name=lambda one: one.name,
        frames=partial(_frames_to_do, out=out, boxes=box_folder),
        lost=lambda recording, error: Outcome(recording.name, "failed", error=error),
    )  # fmt: skip
    for _, outcome in done:
        with tqdm.external_write_mode():  # keeps the line apart from a progress bar
            say(_line(outcome))
        outcomes.append(outcome)
    outcomes.sort(key=lambda outcome: natural_order(outcome.name))
    _store(out, outcomes)
    return outcomes


def _with_boxes(recording: Recording, shared: Path) -> Recording:
    """Reuse the face boxes of the other dimension: the faces are the same."""
    path = mat_path(shared, "bbox", recording.name)
    return replace(recording, boxes=path) if recording.boxes is None and path.is_file() else recording


def _labelled(recordings: Sequence[Recording], out: Path, dimension: Dimension, say: Say) -> list[Recording]:
    chosen = [item for item in recordings if has_labels(item, out, dimension)]
    unlabelled = [item.name for item in recordings if item not in chosen]
    if not chosen:
        problem = f"none of {len(unlabelled)} recordings has labels"
        raise DataError(problem, code="empty", hint=places_of_labels(out, dimension))
    if unlabelled:
        say(f"skipped, without labels: {', '.join(unlabelled)}")
    return chosen


def _frames_to_do(recording: Recording, out: Path, boxes: Path | None) -> int | None:
    """Return the total of the progress bar: without boxes, detection takes a second pass over the frames."""
    try:
        frames = len(frame_times(recording.frame_time)) if recording.frame_time else None
    except CaffeCompatError:
        return None  # preparing the recording reports the error
    has_boxes = boxes or recording.boxes or mat_path(out, "bbox", recording.name).is_file()
    return frames if has_boxes or frames is None else 2 * frames


def _line(outcome: Outcome) -> str:
    if outcome.status == "failed":
        return f"{outcome.name}: {outcome.error}"
    more = "; the video has more frames than its table of times" if outcome.unread else ""
    return f"{outcome.name}: {outcome.kept} of {outcome.rows} frames kept ({outcome.when}){more}"


def _store(out: Path, outcomes: Sequence[Outcome]) -> None:
    """Write the outcomes of this run and, from their journals, those of earlier runs."""
    names = sorted(path.stem for path in (out / JOURNALS).glob("*.json"))
    earlier = [earlier_outcome(journal_of(out, name)) for name in names]
    by_name = {outcome.name: outcome for outcome in (*earlier, *outcomes) if outcome is not None}
    results = Preparation(tuple(by_name[name] for name in sorted(by_name, key=natural_order)))
    write_json(results.to_json(), out / RESULTS)


def table(outcomes: Sequence[Outcome]) -> Table:
    """Return the numbers of frames of each recording."""
    names = ("frames", "kept", "no face", "too small", "box held")
    columns = (Column("recording", number=False), *map(Column, names), Column("boxes", number=False))
    rows = []
    for one in outcomes:
        numbers = (one.rows, one.kept, one.no_face, one.small, one.held, one.boxes)
        rows.append(row(one.name, *(("failed", *[""] * 5) if one.status == "failed" else map(str, numbers))))
    return Table("", columns, tuple(rows))
