"""One recording from video to crops: labels, face boxes, crops, previews; its journal notes each step.

Crops at low resolution that are not enlarged again are made from these.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import CaffeCompatError, DataError
from lq_emotion.common.fingerprints import fingerprint, named_hashes
from lq_emotion.common.jobs import JobOutcome
from lq_emotion.common.journal import Journal
from lq_emotion.common.json_files import contents_of
from lq_emotion.common.progress import Progress
from lq_emotion.common.settings import Settings, option
from lq_emotion.datasets.avec.gold import GoldStandard, LabelSource, labels_at, load_gold_standard, read_gsd, write_gsd
from lq_emotion.datasets.avec.layout import DIMENSIONS, Dimension, Recording
from lq_emotion.datasets.avec.times import frame_times, match_times, require_grid, snap_times
from lq_emotion.faces.boxfiles import FOUND, TrackedBoxes, boxes_in, read_boxes, write_boxes
from lq_emotion.faces.track import BoxSettings, find_boxes
from lq_emotion.nets.names import crops_folder
from matlab_ports.imresize import imresize
from matlab_ports.matfile import FramesWriter, loadmat, open_frames, variable_names
from matlab_ports.prepare_dataset import Luma, Prepared, prepare_recording
from matlab_ports.run_eval import DELAY

VERSION = 3  # of the results; results of another version are made again
JOURNALS = Path("data") / "journal"
Doubles = npt.NDArray[np.float64]
_BATCH = 64  # frames that are shrunk at once
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PreparationSettings(Settings):
    """Settings of the preparation; the defaults are the authors'."""

    scales: tuple[int, ...] = option(
        (), "downsampling factors of the LR crops, such as 3 4 6 8 12 16: 3 writes LR3, crops reduced by 3 and "
        "enlarged to 96 x 96 (default: HQ only)", least=2, metavar="S",
    )  # fmt: skip
    dimension: Dimension = option(
        "valence", "label to learn; results for others than valence are in ROOT/arousal and ROOT/both", group="labels"
    )
    labels: LabelSource = option(
        "auto", "use the gold standard, or rebuild it from the raters' traces (auto: gold if present)", group="labels"
    )
    delay: float = option(
        0.0, "delay of the gold standard in seconds; labels are shifted back by it, and scoring accounts for it "
        "(data/gsd contains the unshifted gold standard; the authors do not shift)", least=0, metavar="S",
        group="labels",
    )  # fmt: skip
    smallest: float = option(
        100, "keep faces whose box is wider and higher than PX pixels", metavar="PX", group="faces"
    )
    boxes: BoxSettings = field(default_factory=BoxSettings)
    version: Literal["v6", "v7", "v7.3"] = option(
        "v6", "version of the MAT-files with crops; v6 is read without inflating", group="work"
    )
    luma: Luma = option("rgb", "luma from RGB, like the scripts; the video's Y plane; or gray", group="work")
    figures: bool = option(True, "skip contact sheets and plots of the labels", name="--no-figures", group="work")

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.scales)) != len(self.scales):
            raise DataError("factors must differ", code="invalid", field="--scales", value=self.scales)


@dataclass(frozen=True)
class Outcome(JobOutcome):
    """The result of preparing a recording: numbers of frames."""

    rows: int = 0
    """In the table of frame times."""
    kept: int = 0
    """With a crop."""
    no_face: int = 0
    small: int = 0
    """With a box that is too small."""
    held: int = 0
    """With a face but without a detection, which use a neighbour's box."""
    boxes: str = ""
    """Origin of the boxes."""
    unread: bool = False
    """The video has frames after the last of the times."""


def mat_path(out: Path, kind: str, name: str) -> Path:
    """Return a MAT-file of a recording: ``bbox``, ``gsd``, ``raw_data/HQ``."""
    return out / "data" / kind / f"{name}.mat"


def _label_paths(out: Path, name: str, dimension: Dimension) -> dict[str, Path]:
    """Return the files of labels by dimension: data/gsd/NAME.mat; if both, data/gsd/valence/NAME.mat and so on."""
    if dimension != "both":
        return {dimension: mat_path(out, "gsd", name)}
    return {each: mat_path(out, f"gsd/{each}", name) for each in DIMENSIONS}


def prepare_one(
    recording: Recording,
    out: Path,
    settings: PreparationSettings,
    *,
    boxes: Path | None = None,
    unlabelled: bool = False,
    fresh: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Make the crops of one recording unless they exist; the outcome reports errors, none is raised.

    Boxes are NAME.mat or NAME.csv in a folder; a recording without labels is an error unless `unlabelled`.
    """
    begun = time.monotonic()
    journal = None
    try:
        journal = journal_of(out, recording.name)
        outcome = _Work(recording, out, settings, boxes, journal, progress).run(unlabelled=unlabelled, fresh=fresh)
    except (CaffeCompatError, OSError) as error:
        problem = str(error)
    except Exception as error:  # noqa: BLE001 (an error must not stop the other recordings)
        problem = f"{type(error).__name__}: {error}"
        _log.error("%s\n%s", recording.name, traceback.format_exc())
    else:
        return outcome
    failed = Outcome(recording.name, "failed", seconds=time.monotonic() - begun, error=problem)
    if journal is not None:
        _note_failure(journal, failed)
    return failed


def has_labels(recording: Recording, out: Path, dimension: Dimension) -> bool:
    """Tell whether a recording has labels, in the data set or as the user's own gsd.mat below ROOT."""
    records, files = recording.by_dimension(dimension), _label_paths(out, recording.name, dimension)
    return all(bool(record.gold or record.ratings) or files[name].is_file() for name, record in records.items())


def own_files(name: str, out: Path, dimension: Dimension, journal: Journal | None = None) -> tuple[Path, ...]:
    """Return the labels and boxes of a recording that the user put below ROOT: those that `prepare` did not write."""
    files = (*_label_paths(out, name, dimension).values(), mat_path(out, "bbox", name))
    journal = journal or journal_of(out, name)
    return tuple(path for path in files if path.is_file() and not journal.wrote(path))


def places_of_labels(out: Path, dimension: Dimension) -> str:
    """Return the hint that names where labels are expected."""
    folders = " and ".join(f"{path.parent}" for path in _label_paths(out, "NAME", dimension).values())
    return f"add ratings_gold_standard or ratings_individual to the recordings, or NAME.mat to {folders}"


def journal_of(out: Path, name: str) -> Journal:
    """Return the journal of a recording."""
    return Journal(out / JOURNALS / f"{name}.json", root=out)


def earlier_outcome(journal: Journal) -> Outcome | None:
    """Return the outcome of a recording in the last run, from its journal."""
    stored = journal.details.get("outcome")
    if stored is None:
        return None
    with contents_of(journal.path):
        return Outcome.from_json(stored)


def _note_failure(journal: Journal, failed: Outcome) -> None:
    journal.details["outcome"] = failed.to_json()
    try:
        journal.write()
    except (CaffeCompatError, OSError) as error:  # a full disk fails both the recording and its journal
        _log.info("the journal could not be written: %s", error)


class _Work:
    def __init__(
        self,
        recording: Recording,
        out: Path,
        settings: PreparationSettings,
        boxes: Path | None,
        journal: Journal,
        progress: Progress | None,
    ) -> None:
        self._recording, self._out, self._settings = recording, out, settings
        self._journal, self._progress = journal, progress
        self._written: list[Path] = []
        self._given = _given_boxes(recording, boxes)
        self._labels = _label_paths(out, recording.name, settings.dimension)

    def _mat(self, kind: str) -> Path:
        return mat_path(self._out, kind, self._recording.name)

    def run(self, *, unlabelled: bool, fresh: bool) -> Outcome:
        begun = time.monotonic()
        self._require_files(unlabelled=unlabelled)
        earlier = earlier_outcome(self._journal)
        is_done = self._journal.is_done("recording", self._fingerprint())
        if earlier is not None and earlier.status == "done" and is_done and not fresh:
            return replace(earlier, before=True)
        times = frame_times(self._video_times)
        require_grid(times, where=self._video_times)
        gold = {name: self._gold(name, times) for name in self._labels}
        boxes = self._boxes(times, fresh=fresh)
        prepared = self._crop(times, gold, boxes)
        self._draw(gold, boxes)
        outcome = Outcome(
            self._recording.name, "done", seconds=time.monotonic() - begun, rows=prepared.rows, kept=prepared.faces,
            no_face=prepared.no_face, small=prepared.too_small, held=boxes.held, boxes=boxes.source,
            unread=prepared.unread,
        )  # fmt: skip
        self._journal.details["outcome"] = outcome.to_json()
        self._journal.note("recording", self._fingerprint(), self._written)
        return outcome

    def _require_files(self, *, unlabelled: bool) -> None:
        recording = self._recording
        required = {"video": recording.video, "table of frame times": recording.frame_time}
        lacking = [name for name, path in required.items() if path is None]
        if not has_labels(recording, self._out, self._settings.dimension):
            self._labels = {}
            if not unlabelled:
                lacking.append("gold standard nor raters' traces")
        if lacking:
            problem, hint = f"{recording.name} has no {', no '.join(lacking)}", "see docs/dataset.md for the folders"
            raise DataError(problem, code="file-missing", hint=hint)
        assert recording.video is not None
        assert recording.frame_time is not None
        self._video, self._video_times = recording.video, recording.frame_time

    def _fingerprint(self) -> str:
        """Return a fingerprint of all inputs, including a user's own gsd.mat or bbox.mat."""
        users = own_files(self._recording.name, self._out, self._settings.dimension, self._journal)
        inputs = named_hashes([*self._recording.files, self._given, *users])
        return fingerprint([VERSION, self._settings.to_json(), inputs])

    def _gold(self, dimension: str, times: Doubles) -> GoldStandard:
        """Return the labels of all frames: from the user's gsd.mat, or from the package, stored as gsd.mat."""
        path = self._labels[dimension]
        if path.is_file() and not self._journal.wrote(path):
            gold = read_gsd(path)
        else:
            record = self._recording.by_dimension(self._settings.dimension)[dimension]
            gold = load_gold_standard(record, self._settings.labels)
        missing = np.isnan(labels_at(gold, times, self._settings.delay))
        if missing.any():
            first = ", ".join(f"{value:.2f}" for value in times[missing][:5])
            problem = f"the gold standard is NaN at {int(missing.sum())} times: {first} s"
            raise DataError(problem, code="not-finite", file=gold.path)
        if gold.path != path:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_gsd(gold, path, frame_time=times)
            step = f"labels of {dimension}" if len(self._labels) > 1 else "labels"
            self._note(step, self._fingerprint(), [path])
        return gold

    def _note(self, step: str, made_from: str, files: Sequence[Path], **values: Any) -> None:
        self._journal.note(step, made_from, files, **values)
        self._written += files

    def _boxes(self, times: Doubles, *, fresh: bool) -> TrackedBoxes:
        path = self._mat("bbox")
        inputs = named_hashes([self._video, self._video_times, self._given])
        made_from = fingerprint([self._settings.boxes.to_json(), inputs])
        find = partial(boxes_of, self._video, times, self._settings.boxes, progress=self._progress)
        if path.is_file() and not self._journal.wrote(path):
            return find(given=path)
        if self._journal.is_done("boxes", made_from) and not fresh:
            with contents_of(self._journal.path):
                entry = self._journal.entry("boxes")
                held, source = int(entry["held"]), str(entry["source"])
            self._written.append(path)
            return find(given=path)._replace(held=held, source=source)
        boxes = find(given=self._given)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_boxes(path, boxes.bbox, boxes.time)
        self._note("boxes", made_from, [path], held=boxes.held, source=boxes.source)
        return boxes

    def _crop(self, times: Doubles, gold: Mapping[str, GoldStandard], boxes: TrackedBoxes) -> Prepared:
        save = {scale: self._mat(f"raw_data/{crops_folder(scale)}") for scale in (1, *self._settings.scales)}
        self._journal.claim(save.values(), "lq-emotion data prepare")  # the authors' script writes these, too
        for path in save.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        delay = self._settings.delay
        columns = [labels_at(one, times, delay) for one in gold.values()]
        prepared = prepare_recording(
            self._video, times, bbox=boxes.bbox, bbox_time=boxes.time, gsd=np.transpose(columns), gsd_time=times,
            save=save, labels=tuple(gold), variables={DELAY: delay} if delay else {},
            match="grid", smallest=self._settings.smallest, version=f"-{self._settings.version}",
            luma=self._settings.luma, progress=self._progress,
        )  # fmt: skip
        self._note("crops", self._fingerprint(), list(save.values()))
        return prepared

    def _draw(self, gold: Mapping[str, GoldStandard], boxes: TrackedBoxes) -> None:
        if not self._settings.figures:
            return
        from lq_emotion.crops.previews import box_overlay, contact_sheet, label_trace

        crops, figures = self._mat(f"raw_data/{crops_folder(1)}"), self._out / "data" / "figures"
        sheet, trace, frames = (figures / f"{self._recording.name}_{kind}.png" for kind in ("crops", "labels", "boxes"))
        figures.mkdir(parents=True, exist_ok=True)
        contact_sheet(crops, sheet)
        drawn = [sheet]
        if gold:
            label_trace(crops, trace, gold=gold)
            drawn.append(trace)
        if boxes.source == FOUND:  # to be checked by eye; takes another pass over the video
            box_overlay(self._video, boxes.bbox, frames)
            drawn.append(frames)
        self._note("figures", self._fingerprint(), drawn)


def boxes_of(
    video: Path, times: Doubles, settings: BoxSettings, *, given: Path | None = None, progress: Progress | None = None
) -> TrackedBoxes:
    """Return the boxes at the times (T,) of a video's frames, from the file `given` or by detection."""
    if given is None:
        return find_boxes(video, times, settings, progress=progress)
    file = read_boxes(given)
    rows = match_times(times, file.time, what="file of face boxes", where=given)
    time = snap_times(file.time[rows], times)
    return file._replace(bbox=file.bbox[rows], time=time, detected=file.detected[rows])


def _given_boxes(recording: Recording, folder: Path | None) -> Path | None:
    """Return the recording's file of boxes in the user's folder, or that next to the recording."""
    if folder is None:
        return recording.boxes
    for name in (recording.name, recording.participant):
        if name is not None and (path := boxes_in(folder, name)):
            return path
    raise DataError(f"no {recording.name}.mat or {recording.name}.csv", code="file-missing", file=folder, field="boxes")


def shrink(source: Path, target: Path, s: int) -> None:
    """Downsample the crops of a MAT-file, (H, W, T), with labels and times, by a divisor of H and W; atomically."""
    with open_frames(source) as frames:
        height, width, count = frames.shape
        if height % s or width % s:
            raise DataError(f"crops are {height} x {width}, not divisible by {s}", code="shape-mismatch", file=source)
        variables = loadmat(source, [name for name in variable_names(source) if name != "video"])
        target.parent.mkdir(parents=True, exist_ok=True)
        with FramesWriter(target, shape=(height // s, width // s, count), version="-v6", variables=variables) as file:
            for first in range(0, count, _BATCH):
                # in float32, as prepare makes the enlarged crops
                batch = frames.take(np.arange(first, min(first + _BATCH, count))).astype(np.float32)
                file.append(imresize(batch, 1 / s, axes=(0, 1)))
