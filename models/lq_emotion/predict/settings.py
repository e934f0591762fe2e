"""Settings of predict, and the loaded nets and detector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from caffe_compat.errors import DataError, FileError
from lq_emotion.common.fingerprints import named_hashes
from lq_emotion.common.settings import option
from lq_emotion.faces.boxfiles import Boxes, boxes_in
from lq_emotion.faces.identities import Identities
from lq_emotion.nets.known.detectors import DETECTORS, load_detector
from lq_emotion.nets.known.loading import load_model
from lq_emotion.nets.known.settings import DescriptionSettings
from lq_emotion.predict.analysis import Apart, Estimator, Finder, Follower, by_boxes, by_detector
from lq_emotion.quality.calibration import sidecar
from lq_emotion.video.frames import Selection
from lq_emotion.video.sources import Kind


def boxes_for(where: Path, stem: str) -> Path:
    """Return the file of boxes for a source: the file itself, or NAME.mat or NAME.csv in a folder.

    Raises
    ------
    FileError
        There is none.
    """
    if not where.is_dir():
        return where
    if path := boxes_in(where, stem):
        return path
    raise FileError(f"holds neither {stem}.mat nor {stem}.csv", code="file-missing", file=where, field="--detector")


def require_detector(name: str) -> None:
    """Refuse a detector that is neither known by name nor a path of boxes.

    Raises
    ------
    DataError
    """
    if name not in DETECTORS and not Path(name).exists():
        hint = f"use {', '.join(DETECTORS)}, or the path of a file or folder of boxes"
        raise DataError("unknown detector", code="name-unknown", field="--detector", value=name, hint=hint)


@dataclass(frozen=True, kw_only=True)
class PredictSettings(DescriptionSettings):
    """What to do with every source."""

    models: tuple[str, ...] = option(
        ("mini-xception",), "name of a model, or a caffemodel; may be repeated. See lq-emotion models", name="--model",
        repeated=True, metavar="MODEL", group="nets",
    )  # fmt: skip
    detector: str = option(
        "mtcnn", "mtcnn, ultra-light, ultra-light-slim, haar, or a file or folder of face boxes", metavar="DETECTOR",
        group="nets",
    )  # fmt: skip
    device: str = option("auto", "auto, cpu, cuda or cuda:N", group="nets")
    every: int = option(1, "take every N-th frame", least=1, group="frames")
    start: float = option(0.0, "first time in seconds", least=0, metavar="S", group="frames")
    end: float | None = option(None, "last time in seconds (default: all)", least=0, metavar="S", group="frames")
    timeout: float = option(
        10.0, "seconds after which a silent stream counts as stalled", least=0.1, metavar="S", group="frames"
    )
    form: Literal["csv", "parquet"] = option(
        "csv", "format of the rows; parquet needs the extra `parquet`", name="--format", group="results"
    )
    overlay: bool = option(False, "write the frames with boxes and values, too", group="results")
    page: bool = option(True, "write no HTML page", name="--no-page", group="results")
    abstain: bool = option(False, "leave values empty that are not to be trusted", group="results")

    def selection(self) -> Selection:
        """Return which frames to take.

        Raises
        ------
        DataError
            The end lies before the start.
        """
        return Selection(self.every, self.start, float("inf") if self.end is None else self.end)


@dataclass(frozen=True, eq=False)
class Instruments:
    """What finds faces and says something about them; shared by all sources of a process.

    Attributes
    ----------
    estimators : the nets.
    find : finds faces; None if each source has a file of boxes.
    follower : makes the follower of a video.
    """

    estimators: tuple[Estimator, ...]
    find: Finder | None
    follower: Callable[[], Follower] = Identities

    def finder(self, settings: PredictSettings, stem: str) -> Finder:
        """Return what finds the faces of a source.

        Raises
        ------
        CaffeCompatError
            The file of boxes is missing or damaged.
        """
        return self.find or by_boxes(Boxes(boxes_for(Path(settings.detector), stem)))

    def follower_of(self, kind: Kind) -> Follower:
        """Return what follows the faces of a source: images have nothing to do with each other."""
        return Apart() if kind is Kind.IMAGES or self.find is None else self.follower()

    def fingerprint(self) -> list[Any]:
        """Return what identifies the nets and their calibrations."""
        weights = [estimator.model.weights for estimator in self.estimators]
        return [
            [estimator.name, named_hashes([path, sidecar(path)])]
            for estimator, path in zip(self.estimators, weights, strict=True)
        ]


@lru_cache(maxsize=1)
def load_instruments(settings: PredictSettings) -> Instruments:
    """Load the nets and the detector; the last ones are kept for the next source.

    Raises
    ------
    CaffeCompatError
        A model is unknown, missing or damaged; values are to be left out and no net has a calibration.
    """
    from lq_emotion.common.devices import choose_device

    device = choose_device(settings.device)
    loaded = [load_model(name, **settings.description, device=device) for name in settings.models]
    names = [model.name for model in loaded]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise DataError("is named twice", code="duplicate", field="--model", value=name)
    estimators = tuple(Estimator(model) for model in loaded)
    for estimator in estimators:
        if settings.abstain and estimator.calibration is None:
            problem, hint = "has no calibration, which says what to leave out", "make one: lq-emotion calibrate"
            raise DataError(problem, code="not-prepared", field="--abstain", value=estimator.name, hint=hint)
    if settings.detector not in DETECTORS:
        return Instruments(estimators, None)
    return Instruments(estimators, by_detector(load_detector(settings.detector, home=settings.home, device=device)))
