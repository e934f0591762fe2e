"""The demo: a small version of the study on synthetic people, followed by predictions on video.

Folders below ROOT: ``recordings``; those of a study (see `stages`); ``trust`` (Joint-OA's weights with their
calibration); ``predict`` (rows and pages). The recipe is the demo's own (recipes/demo.toml): Caffe's Adam, small
batches, a minute for each net.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from caffe_compat.errors import DataError
from lq_emotion.common.fingerprints import fingerprint
from lq_emotion.common.json_files import find_record, read_record, write_json
from lq_emotion.common.progress import Say
from lq_emotion.common.records import Record
from lq_emotion.datasets.synthetic.package import SyntheticSettings, make_recordings
from lq_emotion.faces.boxfiles import read_boxes, write_boxes
from lq_emotion.nets.known.loading import load_model
from lq_emotion.nets.names import Method, crops_folder
from lq_emotion.predict.analysis import Estimator
from lq_emotion.predict.instruments import Instruments
from lq_emotion.predict.run import Outcome, predict
from lq_emotion.predict.settings import PredictSettings
from lq_emotion.quality.calibration import Calibration
from lq_emotion.quality.run import calibrate
from lq_emotion.quality.settings import CalibrationSettings, Grid, Reading
from lq_emotion.studies.robust_lq.cells import cells, super_resolution, weights_of
from lq_emotion.studies.robust_lq.plan import Part, StudyPlan
from lq_emotion.studies.robust_lq.rd_results import SweepResults
from lq_emotion.studies.robust_lq.results import StudyResults, VariantResults
from lq_emotion.studies.robust_lq.stages import stages
from lq_emotion.studies.robust_lq.study import STUDY
from lq_emotion.studies.robust_lq.upscaling import SrGain, sr_gain
from lq_emotion.video.degrade import DegradeSettings, degrade_video
from lq_emotion.video.sources import find_sources

Scores = Mapping[str, Mapping[str, float | None]]
_BOXES = "synthetic_face_boxes"
_LOW_SCALE, _LOW_QP = 8, 36  # of the degraded copy that predict reads
_CODED_SCALES = (3,)
_LEVEL = 0.8  # of the calibration: with so few people, 90 % would be what the worst of them shows
_LIMITS = "Trained for a minute on drawn faces. It says nothing about people."


@dataclass(frozen=True)
class DemoSize:
    """How much the demo draws, trains and degrades.

    The nets never see the people of dev, of whom the last one is for `predict` and the others are for the calibration.
    """

    train: int = 32
    dev: int = 12
    frames: int = 200
    """Of each recording."""
    scales: tuple[int, ...] = (3, 4, 8)
    """Joint-OA learns from all of them, super-resolution at the largest."""
    coded: Mapping[str, Any] = field(
        default_factory=lambda: {"codecs": ("x264",), "qps": (20, 28, 36, 44), "coded_frames": 100}
    )
    """The settings of Figure 4."""
    grid: Grid = field(default_factory=lambda: Grid(scales=(1, 2, 4, 8), qps=(20, 36)))
    """How recordings are degraded to calibrate."""
    calibrated: int = 50
    """Frames of each."""
    iterations: int | None = None
    """Of every training; None for those of recipes/demo.toml."""


@dataclass(frozen=True)
class TrustedVideo(Record):
    """A video that `predict` read: its name, the faces in it, how many estimates are trusted, and the page about it."""

    name: str
    faces: int
    trusted: int
    page: Path


@dataclass(frozen=True, kw_only=True)
class DemoResults(Record):
    """What the demo shows."""

    ccc: Scores
    """Of all development frames, by net and crops: ``{"HR": {"HQ": 0.7, "LR-8": 0.1}}``."""
    coded: Scores
    """CCC by net and QP, at the first factor that is coded."""
    sr: SrGain
    level: float
    """This part of the errors on faces as recorded is within the half-width of the interval."""
    half_width: float
    videos: tuple[TrustedVideo, ...]
    """A video that the nets never saw, and its degraded copy."""
    made_from: str = ""
    """Hash of what decides the demo."""


def demo_plan(out: Path, size: DemoSize, seed: int = 0, threads: int = 2) -> StudyPlan:
    """Return the settings of the demo's study."""
    recordings = out / "recordings"
    return StudyPlan(
        recordings=recordings,
        out=out,
        parts=(Part.TABLE, Part.MISMATCH, Part.FIGURE4),
        scales=size.scales,
        rows=(Method.HR, Method.JOINT_OA),
        preset="demo",
        iterations=size.iterations,
        max_factor=max(size.scales),
        mixture=size.scales,
        boxes=recordings / _BOXES,
        **size.coded,
        coded_scales=_CODED_SCALES,
        previews=False,
        seed=seed,
        threads=threads,
        device="cpu",
    )


def run_demo(
    out: Path, size: DemoSize | None = None, *, seed: int = 0, threads: int = 2, say: Say = print
) -> DemoResults:
    """Draw people, run the study, calibrate Joint-OA and predict two videos; write and return ROOT/demo.json."""
    size = size or DemoSize()
    plan = demo_plan(out, size, seed, threads)
    made_from = fingerprint([asdict(size), seed, threads])
    earlier = find_record(out / "demo.json", DemoResults)
    if earlier is not None and earlier.made_from == made_from and all(video.page.is_file() for video in earlier.videos):
        say(f"{out} is finished")
        return earlier
    people = SyntheticSettings(
        out=plan.recordings, train=size.train, dev=size.dev, frames=size.frames, size=(224, 224), seed=seed, lag=0,
        jobs=2,
    )  # fmt: skip
    make_recordings(people, say)
    (study,) = STUDY.run(plan, say)
    unseen = [f"dev_{number}" for number in range(1, size.dev + 1)]
    weights = weights_of(plan, super_resolution(plan, plan.largest_factor, seed))
    calibration, estimator = _calibrated(plan, size, unseen[:-1], say)
    results = DemoResults(
        ccc=_scores(study, read_record(out / "study" / "variants.json", VariantResults)),
        coded=_coded(plan),
        sr=sr_gain(weights, out / "data/raw_data", unseen, plan.largest_factor),
        level=calibration.level,
        half_width=calibration.errors[0].undegraded,
        videos=_videos(plan, estimator, unseen[-1], say),
        made_from=made_from,
    )
    _remove_bulk(plan, unseen)
    write_json(results.to_json(), out / "demo.json")
    return results


def _remove_bulk(plan: StudyPlan, unseen: Sequence[str]) -> None:
    """Remove what a finished demo does not show: crops of all people but three, training data, states of solvers."""
    written = {path for stage in stages(plan) for path in stage.writes}
    shown = {plan.root / "data/raw_data" / crops_folder(1) / f"{name}.mat" for name in unseen[:3]}
    snapshots = {path.parent for path in written if path.suffix == ".caffemodel"}
    states = [
        path for kind in ("solverstate", "resume.npz") for folder in snapshots for path in folder.glob(f"*.{kind}")
    ]
    faces = plan.root.glob("sr/images/*/face_*.png")
    for bulk in (plan.root / name for name in ("data/raw_data", "h5_files", "sr")):
        for path in (*(path for path in written - shown if bulk in path.parents), *faces, *states):
            path.unlink(missing_ok=True)
        for folder in sorted((bulk, *bulk.rglob("*")), reverse=True):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def _coded(plan: StudyPlan) -> Scores:
    """Return CCC by net and QP, at the first factor and codec of Figure 4."""
    scores: dict[str, dict[str, float | None]] = {}
    for point in read_record(plan.root / "rd" / "rd.json", SweepResults).points:
        if point.qp is not None and (point.codec, point.scale) == (plan.codecs[0], plan.coding_factors[0]):
            scores.setdefault(point.model, {})[f"QP {point.qp}"] = point.score.ccc
    return scores


def _calibrated(plan: StudyPlan, size: DemoSize, names: Sequence[str], say: Say) -> tuple[Calibration, Estimator]:
    """Calibrate Joint-OA on people that no net has seen; return the calibration, and the net with it."""
    weights = plan.out / "trust" / f"{Method.JOINT_OA}.caffemodel"
    weights.parent.mkdir(exist_ok=True)
    joint_oa = next(cell.training for cell in cells(plan) if cell.method is Method.JOINT_OA)
    shutil.copyfile(weights_of(plan, joint_oa), weights)
    model = replace(load_model(weights), limits=_LIMITS)
    settings = CalibrationSettings(
        recordings=(plan.recordings,),
        model=str(weights),
        names=tuple(names),
        reading=Reading(frames=size.calibrated, boxes=plan.boxes),
        grid=size.grid,
        level=_LEVEL,
    )
    _, calibration = calibrate(settings, model, say)
    return calibration, Estimator(model, calibration)


def _videos(plan: StudyPlan, estimator: Estimator, name: str, say: Say) -> tuple[TrustedVideo, ...]:
    """Predict the video of a person that no net has seen, and a degraded copy of it."""
    assert plan.boxes is not None
    out, video = plan.out / "predict", plan.recordings / "recordings_video" / f"{name}.mp4"
    boxes = out / "boxes"
    boxes.mkdir(parents=True, exist_ok=True)
    low = out / f"{name}_s{_LOW_SCALE}_qp{_LOW_QP}.mp4"
    degrade_video(DegradeSettings(video=video, out=low, scale=_LOW_SCALE, qp=_LOW_QP))
    file = read_boxes(plan.boxes / f"{name}.csv")
    for path, scale in ((video, 1), (low, _LOW_SCALE)):
        corners = (file.bbox[:, :2] - 1) / scale + 1  # 1-based
        write_boxes(boxes / f"{path.stem}.csv", np.column_stack([corners, file.bbox[:, 2:] / scale]), file.time)
    settings = PredictSettings(models=(str(estimator.model.weights),), detector=str(boxes))
    instruments = Instruments((estimator,), None)
    sources = find_sources([str(video), str(low)])
    outcomes = predict(sources, settings, out, instruments=instruments, say=say)
    for outcome in outcomes:
        if outcome.status != "done":
            raise DataError(outcome.error, code="invalid", field="predict", value=outcome.name)
    return tuple(_trusted(outcome) for outcome in outcomes)


def _scores(study: StudyResults, variants: VariantResults) -> Scores:
    """Return CCC by net and crops: those of Table 1, and HR's on LR crops."""
    scores: dict[str, dict[str, float | None]] = {}
    for cell in study.cells:
        crops = "HQ" if cell.method is Method.HR else f"LR-{cell.factor}"
        scores.setdefault(cell.method, {})[crops] = cell.measured.ccc
    for variant in variants.cells:
        scores[Method.HR][f"LR-{variant.tested}"] = variant.measured.ccc
    return scores


def _trusted(outcome: Outcome) -> TrustedVideo:
    rows, page = outcome.files
    with rows.open(encoding="utf-8", newline="") as file:
        faces = [row for row in csv.DictReader(file) if row["face_id"]]
    return TrustedVideo(outcome.name, len(faces), sum(row["trusted"] == "1" for row in faces), page)
