"""Settings of a calibration: the recordings, how they are read and degraded, and what counts as trusted."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lq_emotion.common.settings import Settings, device_option, option
from lq_emotion.faces.boxfiles import boxes_in


@dataclass(frozen=True, kw_only=True)
class Reading(Settings):
    """Reading of recordings."""

    frames: int = option(250, "first frames of a recording; a long one does not outweigh the others", least=1)
    delay: float = option(0.0, "delay of the labels in seconds", least=0)
    boxes: Path | None = option(
        None, "face boxes, NAME.mat or NAME.csv (default: those next to the recordings, else faces are detected)",
        metavar="FOLDER",
    )  # fmt: skip

    def boxes_of(self, name: str) -> Path | None:
        """Return the file of boxes for a recording; None without one."""
        return None if self.boxes is None else boxes_in(self.boxes, name)


@dataclass(frozen=True, kw_only=True)
class Grid(Settings):
    """Degradation of recordings: by every scale, at every QP."""

    scales: tuple[float, ...] = option((1, 2, 3, 4, 6, 8, 12), "factors to shrink by", least=1)
    qps: tuple[int, ...] = option((20, 28, 36, 44), "quantisers", least=0, most=51)
    codec: Literal["x264", "x265"] = option("x264", "encoder")


@dataclass(frozen=True, kw_only=True)
class CalibrationSettings(Settings):
    """Settings of a calibration."""

    recordings: tuple[Path, ...] = option(
        help="a folder of labelled recordings as AVEC lays them out (its training recordings are left out); for a "
        "classifier video files, which need no labels", positional=True, metavar="RECORDINGS",
    )  # fmt: skip
    model: str = option(help="a known model, or a caffemodel", metavar="NAME|FILE")
    names: tuple[str, ...] = option((), "recordings to use, none of which the net has seen")
    reading: Reading = field(default_factory=Reading)
    grid: Grid = field(default_factory=Grid)
    level: float = option(0.9, "coverage of the intervals", least=0.5, most=0.99, metavar="P")
    limit: float | None = option(
        None, "largest error at which an estimate is trusted (default: 1.25 x the error on undegraded faces); for a "
        "classifier the least probability that the class stays (default 0.8)", least=0,
    )  # fmt: skip
    out: Path | None = option(None, "file to write (default: NAME.calibration.json next to the weights)")
    device: str = device_option()
