"""A study's results as they could be: two nets of images, and clips in three versions."""

from dataclasses import replace
from pathlib import Path

from lq_emotion.crops.versions import Version
from lq_emotion.datasets.ferplus import EMOTIONS
from lq_emotion.datasets.ravdess import ActorSplit, Window
from lq_emotion.studies.cloud_robotics.paper import Aggregation
from lq_emotion.studies.cloud_robotics.plan import Choices, CloudPlan
from lq_emotion.studies.cloud_robotics.results import ClipResult, CloudResults, ImageResult
from lq_emotion.workflow.search import Parameter, Trial

RATES = (Parameter("head_lr", 1e-4, 1.0, log=True), Parameter("fine_lr", 1e-6, 1e-2, log=True))
VERSIONS = (Version(1280, 720, 30), Version(640, 360, 30), Version(256, 144, 5))


def square(classes: int, right: int, wrong: int) -> tuple[tuple[int, ...], ...]:
    """Return confusions of equally frequent classes, each taken for the next one so many times."""
    rows = [[0] * classes for _ in range(classes)]
    for number, row in enumerate(rows):
        row[number], row[(number + 1) % classes] = right, wrong
    return tuple(map(tuple, rows))


def course(*errors: float) -> tuple[Trial, ...]:
    """Return trials with these objectives."""
    return tuple(
        Trial(number, {"head_lr": 10 ** (-1 - number / 2), "fine_lr": 10 ** (-3 - number / 3)}, error)
        for number, error in enumerate(errors)
    )


def _lstm(trained: str, version: str, right: int) -> ClipResult:
    return ClipResult(method=Aggregation.LSTM, trained=trained, version=version, confusion=square(8, right, 4 - right))


_BEST = ImageResult(
    base="vggface2", weights="images/vggface2/net.caffemodel", sha256="ab" * 32, classes=EMOTIONS[:7],
    confusion=square(7, 8, 2), trial=1, parameters={"head_lr": 0.03, "fine_lr": 5e-4}, dev_accuracy=0.75,
    space=RATES, course=course(0.5, 0.25, 0.375, 0.25),
)  # fmt: skip
EXAMPLE = CloudResults(
    synthetic=True,
    settings=CloudPlan(
        out=Path("root"), ferplus=Path("ferplus"), weights={"vggface2": "a"}, preset="small", seed=3,
        choices=Choices(window=Window.START),
    ),
    actors=ActorSplit((1, 2, 3, 4), (5,), (6, 7)),
    versions=VERSIONS,
    images=(_BEST, replace(_BEST, base="imagenet", sha256="cd" * 32, confusion=square(7, 6, 4), course=(), space=())),
    clips=(
        *(
            ClipResult(method=method, trained=None, version=version.name, confusion=square(8, right, 4 - right))
            for method, right in ((Aggregation.MEAN, 1), (Aggregation.MODE, 2))
            for version in VERSIONS
        ),
        *(_lstm("720p30", version.name, right) for version, right in zip(VERSIONS, (4, 2, 0), strict=True)),
        *(_lstm("360p30", version.name, right) for version, right in zip(VERSIONS[:2], (1, 3), strict=True)),
        *(_lstm("all", version.name, right) for version, right in zip(VERSIONS, (3, 3, 2), strict=True)),
    ),
    seconds={"vggface2 trial 1": 12.5, "features": 3.0, "lstm all": None},
    software={"python": "3.12.0", "torch": "2.8.0", "caffe-compat": None},
)  # fmt: skip
