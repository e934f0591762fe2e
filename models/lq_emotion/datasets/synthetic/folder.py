"""The folder of a synthetic data set, with its settings and journal, and its videos."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError
from lq_emotion.common.fingerprints import fingerprint
from lq_emotion.common.folders import require_folder
from lq_emotion.common.journal import Journal
from lq_emotion.common.lists import write_lines
from lq_emotion.common.settings import Settings, option
from lq_emotion.video.encode import load_av
from lq_emotion.video.writer import write_video

SETTINGS = "synthetic.json"
# One thread and no macroblock tree, which is not deterministic with SIMD (x264 r165).
_X264 = {"preset": "veryfast", "crf": "22", "threads": "1", "x264-params": "mbtree=0:bframes=0"}
_ORIGIN = """

The faces are drawn, by `lq-emotion {maker}` of caffe-compat with the settings in synthetic.json. They serve to try a
program. Results on them say nothing about people."""


@dataclass(frozen=True, kw_only=True)
class MakeSettings(Settings):
    """Settings of every ``data make``; the journal has those of the data."""

    out: Path = option(help="a new folder, or one from an earlier run", metavar="DIR")
    fresh: bool = option(False, "discard earlier data")

    @property
    def data(self) -> dict[str, Any]:
        """The settings that decide what is drawn."""
        return {name: value for name, value in self.to_json().items() if name not in ("out", "fresh", "jobs")}


def open_folder(
    settings: MakeSettings, drawing: int, *, maker: str, about: str, growing: Collection[str] = ()
) -> tuple[Journal, str]:
    """Store settings in the journal of a folder, and README.txt; return it and the fingerprint of a piece of data.

    A folder with other files or other settings is refused; those in `growing` may differ, as more may be made later.
    `drawing` is the version of what is drawn.
    """
    out = settings.out
    require_folder(out)
    details = {"synthetic": True, "drawing": drawing, **settings.data}
    journal = Journal(out / SETTINGS, root=out, hint="choose another --out, or remove the folder")
    journal.require_own(out.glob("*"), maker)
    for name, value in details.items() if journal.exists and not settings.fresh else ():
        if name not in growing and journal.details.get(name) != value:
            raise DataError(
                f"{out} was made with {journal.details.get(name)!r}", code="mismatch", field=name, value=value,
                hint="make all recordings again with --fresh, or choose another --out",
            )  # fmt: skip
    journal.details = details
    journal.write()
    write_lines([about + _ORIGIN.format(maker=maker)], out / "README.txt")
    return journal, fingerprint({name: value for name, value in details.items() if name not in growing})


def frame_size(text: str) -> tuple[int, int]:
    """Read ``480x360``: width and height."""
    parsed = re.fullmatch(r"(\d+)x(\d+)", text)
    if not parsed:
        problem = "expected width and height, such as 480x480"
        raise DataError(problem, code="invalid", field="--size", value=text)
    return int(parsed[1]), int(parsed[2])


def require_even(size: tuple[int, int]) -> None:
    """Refuse a frame size that H.264 in 4:2:0 cannot have."""
    if any(side % 2 for side in size):
        hint = "expected even sides"
        raise DataError("out of range", code="out-of-range", field="--size", value=size, hint=hint)


def require_x264() -> None:
    """Raise DataError unless PyAV can write H.264."""
    av = load_av()
    if "libx264" not in av.codecs_available:
        raise DataError(
            f"PyAV {av.__version__} was built without libx264", code="dependency-missing",
            hint="pip install --force-reinstall av",
        )  # fmt: skip


def write_mp4(path: Path, frames: Iterable[npt.NDArray[np.uint8]], ticks: Iterable[int], rate: Fraction) -> None:
    """Write frames, (H, W, 3) uint8 each, at times in units of 1 / `rate` seconds, in H.264."""
    exact = {"fflags": "+bitexact"}
    with write_video(path, _X264, tick=1 / rate, rate=rate, threads=1, container=exact) as video:
        for tick, frame in zip(ticks, frames, strict=True):
            video.write(frame, tick)
