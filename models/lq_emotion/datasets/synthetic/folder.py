"""What all synthetic data sets share: a folder with its settings and journal, and videos."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import CaffeCompatError, DataError
from caffe_compat.formats.files import atomic_path
from lq_emotion.common.journal import Journal, require_folder

SETTINGS = "synthetic.json"
# One thread and no macroblock tree, which is not deterministic with SIMD (x264 r165).
_X264 = {"preset": "veryfast", "crf": "22", "threads": "1", "x264-params": "mbtree=0:bframes=0"}


def open_folder(
    out: Path, details: Mapping[str, Any], readme: str, *, growing: Collection[str] = (), fresh: bool, maker: str
) -> Journal:
    """Store the settings in the folder's journal; refuse a folder with other files or other settings.

    Parameters
    ----------
    out : the folder.
    details : the settings.
    readme : the text of README.txt.
    growing : settings that may differ from the folder's: more may be made later.
    fresh : whatever is there will be made again.
    maker : the name of the command.

    Raises
    ------
    FileError, DataError
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


def require_pyav() -> None:
    """Raise DataError unless PyAV can write H.264."""
    try:
        import av
    except ImportError:
        hint = "pip install caffe-compat[video]"
        raise DataError("PyAV, which writes H.264, is not installed", code="dependency-missing", hint=hint) from None
    if "libx264" not in av.codecs_available:
        raise DataError(
            f"PyAV {av.__version__} was built without libx264", code="dependency-missing",
            hint="pip install --force-reinstall av",
        )  # fmt: skip


def write_mp4(
    path: Path, frames: Iterable[npt.NDArray[np.uint8]], ticks: Iterable[int], size: tuple[int, int], rate: Fraction
) -> None:
    """Write a video in H.264, complete or not at all.

    Parameters
    ----------
    path : of the .mp4 file.
    frames : each (H, W, 3) uint8, red first.
    ticks : the time of each frame in units of 1 / `rate` seconds.
    size : rows and columns.
    rate : frames per second.

    Raises
    ------
    CaffeCompatError
    """
    import av
    import cv2

    with atomic_path(path) as partial:
        try:
            with av.open(str(partial), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
                stream: Any = container.add_stream("libx264", rate=rate, options=_X264)
                stream.codec_context.time_base = 1 / rate
                stream.codec_context.thread_count = 1
                stream.pix_fmt = "yuv420p"
                stream.height, stream.width = size
                for tick, frame in zip(ticks, frames, strict=True):
                    # OpenCV's conversion takes a tenth of the time of FFmpeg's
                    planes = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420), np.uint8)
                    coded = av.VideoFrame.from_ndarray(planes, format="yuv420p")
                    coded.pts, coded.time_base = tick, 1 / rate
                    container.mux(stream.encode(coded))
                container.mux(stream.encode())
        except av.FFmpegError as error:
            raise CaffeCompatError(f"cannot be written: {error.strerror}", code="file-unwritable", file=path) from None
