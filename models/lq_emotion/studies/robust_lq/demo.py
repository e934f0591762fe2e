"""The demo: the study in small on people who are drawn for it, and what its net is worth on video.

Folders below ROOT: ``recordings``; those of a study (see `stages`); ``trust`` (Joint-OA's weights with their
calibration); ``predict`` (rows and pages). The recipe is the demo's own (recipes/demo.toml): Caffe's Adam, small
batches, a minute for each net.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from caffe_compat.errors import DataError
from lq_emotion.common.json_files import read_record, write_json
from lq_emotion.common.records import Record
from lq_emotion.datasets.synthetic.package import SyntheticSettings, make_recordings
from lq_emotion.faces.boxfiles import read_boxes, write_boxes
from lq_emotion.nets.known.loading import load_model
from lq_emotion.nets.names import Method, Net
from lq_emotion.predict.analysis import Estimator
from lq_emotion.predict.run import Outcome, predict
from lq_emotion.predict.settings import Instruments, PredictSettings
from lq_emotion.quality.calibration import Calibration
from lq_emotion.quality.run import CalibrationRun
from lq_emotion.quality.samples import Grid
from lq_emotion.quality.sources import Reading
from lq_emotion.studies.robust_lq.plan import CodedPlan, Part, StudyPlan
from lq_emotion.studies.robust_lq.rd_results import SweepResults
from lq_emotion.studies.robust_lq.results import StudyResults, VariantResults
from lq_emotion.studies.robust_lq.sr_gain import SrGain, sr_gain
from lq_emotion.studies.robust_lq.stages import sr_run, weights_of
from lq_emotion.studies.robust_lq.study import Study
from lq_emotion.video.degrade import degrade_video
from lq_emotion.video.sources import find_sources

Say = Callable[[str], None]
Scores = Mapping[str, Mapping[str, float | None]]
_BOXES = "synthetic_face_boxes"
_LOW_SCALE, _LOW_QP = 8, 36  # of the degraded copy that predict reads
_LEVEL = 0.8  # of the calibration: with so few people, 90 % would be what the worst of them shows
_LIMITS = "Trained for a minute on drawn faces. It says nothing about people."


@dataclass(frozen=True)
class DemoSize:
    """How much the demo draws, trains and degrades.

    Attributes
    ----------
    train, dev, frames : of the recordings. The nets never see the people of dev, of whom the last one is for `predict`
        and the others are for the calibration.
    scales : the factors s. Joint-OA learns from all of them, super-resolution at the largest.
    coded : the settings of Figure 4.
    grid, calibrated : how recordings are degraded to calibrate, and how many frames of each.
    iterations : of every training; None for those of recipes/demo.toml.
    """

    train: int = 32
    dev: int = 12
    frames: int = 200
    scales: tuple[int, ...] = (3, 4, 8)
    coded: CodedPlan = field(default_factory=lambda: CodedPlan((3,), ("x264",), (20, 28, 36, 44), 100))
    grid: Grid = field(default_factory=lambda: Grid((1, 2, 4, 8), (20, 36)))
    calibrated: int = 50
    iterations: int | None = None


@dataclass(frozen=True)
class TrustedVideo(Record):
    """A video that `predict` read: its name, the faces in it, how many estimates are trusted, and the page about it."""

    name: str
    faces: int
    trusted: int
    page: Path


@dataclass(frozen=True, kw_only=True)
class DemoResults(Record):
    """What the demo shows.

    Attributes
    ----------
    ccc : of all development frames, by net and crops: ``{"HR": {"HQ": 0.7, "LR-8": 0.1}}``.
    coded : CCC by net and QP, at the first factor that is coded.
    sr : of super-resolution.
    level, half_width : of the calibration: this part of the errors on faces as recorded is within so much.
    videos : what `predict` says of a video that the nets never saw, and of its degraded copy.
    """

    ccc: Scores
    coded: Scores
    sr: SrGain
    level: float
    half_width: float
    videos: tuple[TrustedVideo, ...]


@dataclass
class Demo:
    """The demo; a run that was interrupted continues.

    Attributes
    ----------
    out : ROOT.
    size : see `DemoSize`.
    seed : of the people and of the trainings.
    threads : of a stage.
    say : called with each line for the user.
    """

    out: Path
    size: DemoSize = field(default_factory=DemoSize)
    seed: int = 0
    threads: int = 2
    say: Say = print

    def run(self) -> DemoResults:
        """Do what is missing, and return what demo.json holds.

        Raises
        ------
        CaffeCompatError, OSError
        """
        size = self.size
        people = SyntheticSettings(size.train, size.dev, size.frames, width=224, height=224, seed=self.seed, lag=0)
        make_recordings(self._recordings, people, jobs=2, say=self.say)
        study = Study(self.plan, say=self.say).run()
        gain = self._sr_gain()
        calibration, estimator = self._calibrated()
        results = DemoResults(
            ccc=_scores(study, self._variants()),
            coded=self._coded(),
            sr=gain,
            level=calibration.level,
            half_width=calibration.errors[0].undegraded,
            videos=self._videos(estimator),
        )
        write_json(results.to_json(), self.out / "demo.json")
        return results

    @property
    def plan(self) -> StudyPlan:
        """The plan of the study."""
        size = self.size
        return StudyPlan(
            self._recordings,
            self.out,
            parts=(Part.TABLE, Part.MISMATCH, Part.FIGURE4),
            scales=size.scales,
            rows=(Method.HR, Method.JOINT_OA),
            preset="demo",
            changes={str(net): {"max_iter": size.iterations} for net in Net} if size.iterations else {},
            max_factor=max(size.scales),
            mixture=size.scales,
            boxes=self._recordings / _BOXES,
            coded=size.coded,
            previews=False,
            seed=self.seed,
            threads=self.threads,
            device="cpu",
        )

    @property
    def _recordings(self) -> Path:
        return self.out / "recordings"

    @property
    def _unseen(self) -> list[str]:
        """Return the recordings whose people no net has seen."""
        return [f"dev_{number}" for number in range(1, self.size.dev + 1)]

    def _sr_gain(self) -> SrGain:
        factor = self.plan.largest_factor
        weights = weights_of(self.plan, sr_run(self.plan, factor, self.seed), Net.SR_FCN)
        return sr_gain(weights, self.out / "data/raw_data", self._unseen, factor)

    def _variants(self) -> VariantResults:
        return read_record(self.out / "study" / "variants.json", VariantResults)

    def _coded(self) -> Scores:
        coded = self.size.coded
        points = read_record(self.out / "rd" / "rd.json", SweepResults).points
        scores: dict[str, dict[str, float | None]] = {}
        for point in points:
            if point.qp is not None and (point.codec, point.scale) == (coded.codecs[0], coded.scales[0]):
                scores.setdefault(point.model, {})[f"QP {point.qp}"] = point.score.ccc
        return scores

    def _calibrated(self) -> tuple[Calibration, Estimator]:
        """Calibrate Joint-OA on all unseen people but the last; return the calibration, and the net with it."""
        weights = self.out / "trust" / f"{Method.JOINT_OA}.caffemodel"
        weights.parent.mkdir(exist_ok=True)
        shutil.copyfile(weights_of(self.plan, Method.JOINT_OA, Net.JOINT), weights)
        model = replace(load_model(weights), limits=_LIMITS)
        run = CalibrationRun(
            model,
            [self._recordings],
            names=self._unseen[:-1],
            reading=Reading(self.size.calibrated, boxes=self._recordings / _BOXES),
            grid=self.size.grid,
            level=_LEVEL,
            say=self.say,
        )
        calibration = run.run()
        return calibration, Estimator(model, calibration)

    def _videos(self, estimator: Estimator) -> tuple[TrustedVideo, ...]:
        """Predict the video of the last person, and a degraded copy of it."""
        out, name = self.out / "predict", self._unseen[-1]
        out.mkdir(exist_ok=True)
        boxes, video = out / "boxes", self._recordings / "recordings_video" / f"{name}.mp4"
        boxes.mkdir(exist_ok=True)
        low = out / f"{name}_s{_LOW_SCALE}_qp{_LOW_QP}.mp4"
        degrade_video(video, low, scale=_LOW_SCALE, qp=_LOW_QP)
        bbox, time = read_boxes(self._recordings / _BOXES / f"{name}.csv")
        for path, scale in ((video, 1), (low, _LOW_SCALE)):
            corners = (bbox[:, :2] - 1) / scale + 1  # 1-based
            write_boxes(boxes / f"{path.stem}.csv", np.column_stack([corners, bbox[:, 2:] / scale]), time)
        settings = PredictSettings(models=(str(estimator.model.weights),), detector=str(boxes))
        instruments = Instruments((estimator,), None)
        sources = find_sources([str(video), str(low)])
        outcomes = predict(sources, settings, out, instruments=instruments, say=self.say)
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
