"""The nets and the detector of predict."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from caffe_compat.errors import DataError, FileError
from lq_emotion.common.devices import choose_device
from lq_emotion.faces.boxfiles import Boxes, boxes_in
from lq_emotion.faces.face import FaceDetector
from lq_emotion.nets.known.loading import DETECTORS, load_detector, load_model
from lq_emotion.predict.analysis import Estimator
from lq_emotion.predict.settings import PredictSettings


def require_detector(name: str) -> None:
    """Refuse a detector that is neither known by name nor a path of boxes."""
    if name not in DETECTORS and not Path(name).exists():
        hint = f"use {', '.join(DETECTORS)}, or the path of a file or folder of boxes"
        raise DataError("unknown detector", code="name-unknown", field="--detector", value=name, hint=hint)


@dataclass(frozen=True, eq=False)
class Instruments:
    """The nets, and the detector; None if each source has a file of boxes. They are shared by all sources."""

    estimators: tuple[Estimator, ...]
    detector: FaceDetector | None

    def detector_of(self, stem: str, boxes: Path) -> FaceDetector | Boxes:
        """Return the detector, or the boxes of a source: the file `boxes`, or NAME.mat or NAME.csv in that folder."""
        if self.detector is not None:
            return self.detector
        path = boxes_in(boxes, stem) if boxes.is_dir() else boxes
        if path is None:
            problem = f"contains neither {stem}.mat nor {stem}.csv"
            raise FileError(problem, code="file-missing", file=boxes, field="--detector")
        return Boxes(path)


@lru_cache(maxsize=1)
def load_instruments(settings: PredictSettings) -> Instruments:
    """Load the nets and the detector; the last ones stay in memory for the next source."""
    device = choose_device(settings.device)
    loaded = [load_model(name, device=device) for name in settings.models]
    names = [model.name for model in loaded]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise DataError("given twice", code="duplicate", field="--model", value=name)
    estimators = tuple(Estimator(model) for model in loaded)
    for estimator in estimators:
        if settings.abstain and estimator.calibration is None:
            problem, hint = "has no calibration, which decides what to leave out", "make one: lq-emotion calibrate"
            raise DataError(problem, code="not-prepared", field="--abstain", value=estimator.model.name, hint=hint)
    if settings.detector not in DETECTORS:
        return Instruments(estimators, None)
    return Instruments(estimators, load_detector(settings.detector, device=device))
