"""The folder of a synthetic data set, with its settings and journal, and its videos."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError
from caffe_compat.formats.files import atomic_path
from lq_emotion.common.journal import Journal, require_folder
from lq_emotion.video.encode import load_av
from lq_emotion.video.writer import FileCoding, write_video

SETTINGS = "synthetic.json"
# One thread and no macroblock tree, which is not deterministic with SIMD (x264 r165).
_X264 = {"preset": "veryfast", "crf": "22", "threads": "1", "x264-params": "mbtree=0:bframes=0"}


def open_folder(
    out: Path, details: Mapping[str, Any], readme: str, *, growing: Collection[str] = (), fresh: bool, maker: str
) -> Journal:
    """Store settings in the folder's journal, and README.txt; refuse a folder with other files or other settings.

    Settings in `growing` may differ from the folder's: more may be made later. With `fresh` everything is made again.
    """
    require_folder(out)
    journal = Journal(out / SETTINGS, root=out, hint="choose another --out, or remove the folder")
    journal.require_own(out.glob("*"), maker)
    for name, value in details.items() if journal.exists and not fresh else ():
        if name not in growing and journal.details.get(name) != value:
            raise DataError(
                f"{out} was made with {journal.details.get(name)!r}", code="mismatch", field=name, value=value,
                hint="make all recordings again with --fresh, or choose another --out",
            )  # fmt: skip
    journal.details = dict(details)
    journal.write()
    with atomic_path(out / "README.txt") as partial:
        partial.write_text(readme, encoding="utf-8")
    return journal


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
    coding = FileCoding(options=_X264, tick=1 / rate, rate=rate, threads=1, container={"fflags": "+bitexact"})
    with write_video(path, coding) as video:
        for tick, frame in zip(ticks, frames, strict=True):
            video.write(frame, tick)
