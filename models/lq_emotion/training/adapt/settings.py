"""Settings of an adaptation."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lq_emotion.common.settings import Settings, option
from lq_emotion.datasets.clips.table import ClipSettings


@dataclass(frozen=True, kw_only=True)
class AdaptSettings(Settings):
    """Settings of an adaptation; the defaults of the training are ours."""

    model: str = option(
        help="name of a model (lq-emotion models list), or a caffemodel", positional=True, metavar="MODEL"
    )
    clips: Path = option(help="table of your own clips: file, person, labels (docs/your_data.md)", metavar="CSV")
    out: Path = option(help="folder for the weights and the report", metavar="FOLDER")
    reading: ClipSettings = field(default_factory=ClipSettings)
    detector: Literal["mtcnn", "haar"] = option(
        "mtcnn", "finds the faces, as in predict, so that both cut them out alike", group="faces"
    )
    fps: float = option(2.0, "frames taken from a second of video", above=0, group="faces")
    iterations: int = option(2000, "iterations, half of them for the last layer alone", least=2, group="training")
    batch: int = option(32, "faces of an iteration", least=1, group="training")
    base_lr: float = option(
        0.001, "rate of the last layer, by Adam; a tenth of it for all layers", above=0, group="training"
    )
    seed: int = option(0, "seed of the new head and of the order of the faces", least=0, group="training")
    device: str = option("auto", "auto, cpu, cuda or cuda:N", group="training")
    fresh: bool = option(False, "discard earlier results instead of continuing", group="training")

    @property
    def schedule(self) -> list[Any]:
        """Return the settings that decide the training, its faces apart."""
        return [self.iterations, self.batch, self.base_lr, self.seed]
