"""Settings of predict."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lq_emotion.common.settings import Settings, device_option, option
from lq_emotion.video.frames import Selection


@dataclass(frozen=True, kw_only=True)
class PredictSettings(Settings):
    """Settings for every source."""

    models: tuple[str, ...] = option(
        ("mini-xception",), "name of a model, or a caffemodel; may be repeated. See lq-emotion models", name="--model",
        repeated=True, metavar="MODEL", group="nets",
    )  # fmt: skip
    detector: str = option(
        "mtcnn", "mtcnn, ultra-light, ultra-light-slim, haar, or a file or folder of face boxes", metavar="DETECTOR",
        group="nets",
    )  # fmt: skip
    device: str = device_option("nets")
    selection: Selection = field(default_factory=Selection)
    timeout: float = option(
        10.0, "seconds after which a silent stream counts as stalled", least=0.1, metavar="S", group="frames"
    )
    form: Literal["csv", "parquet"] = option(
        "csv", "format of the rows; parquet needs the extra `parquet`", name="--format", group="results"
    )
    overlay: bool = option(False, "write the frames with boxes and values, too", group="results")
    page: bool = option(True, "write no HTML page", name="--no-page", group="results")
    abstain: bool = option(False, "leave values empty that are not to be trusted", group="results")
