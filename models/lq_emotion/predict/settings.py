"""Settings of predict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lq_emotion.common.settings import Settings, option
from lq_emotion.video.frames import Selection


@dataclass(frozen=True, kw_only=True)
class PredictSettings(Settings):
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
            The end is before the start.
        """
        return Selection(self.every, self.start, float("inf") if self.end is None else self.end)
