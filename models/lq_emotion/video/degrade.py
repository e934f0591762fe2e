"""Degrade video as a low-quality channel does: fewer pixels, coarser coding, fewer frames.

Frames shrink as in the authors' data, by MATLAB's imresize (bicubic, antialiased). The authors enlarge them again to
the size of the net's input; here they stay small, as they are coded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError, FileError
from caffe_compat.formats.regular_file import require_other_file, require_regular
from lq_emotion.common.progress import Progress
from lq_emotion.common.records import Record
from lq_emotion.common.settings import Settings, option
from lq_emotion.video.codecs import find_codec
from lq_emotion.video.container import read_frames
from lq_emotion.video.encode import Frames, encode, padded
from lq_emotion.video.frames import Frame, thin
from lq_emotion.video.writer import CONTAINERS, MPEG_CLOCK, write_video
from matlab_ports.imresize import imresize


class Degraded(NamedTuple):
    """Degraded frames, (T, h, w) or (T, h, w, 3), and the bits of each as it is shown; NaN if they were not coded."""

    frames: Frames
    bits: npt.NDArray[np.float64]


def degrade(frames: Frames, *, scale: float = 1, qp: int | None = None, codec: str = "x264") -> Degraded:
    """Shrink the frames of a video and code them.

    Parameters
    ----------
    frames : (T, H, W) gray or (T, H, W, 3) uint8, red first.
    scale : the factor s; height and width become H / s and W / s, rounded up.
    qp : quantiser of all frames; None leaves them uncoded.
    codec : a name in `codecs.CODECS`.

    Raises
    ------
    DataError
        The frames or options are invalid, or PyAV is missing.

    Notes
    -----
    As an augmentation of training data, draw `scale` and `qp` for each clip, and enlarge the result by imresize to what
    the net takes.
    """
    if not (math.isfinite(scale) and scale >= 1):
        raise DataError("out of range", code="out-of-range", field="scale", value=scale, hint="1 or more")
    small = _shrunk(frames, scale, (1, 2))
    if qp is None:
        return Degraded(small, np.full(len(small), math.nan))
    encoded = encode(small, codec, qp=qp)
    return Degraded(encoded.decoded, np.array(encoded.frame_bits, np.float64))


@dataclass(frozen=True)
class DegradedVideo(Record):
    """A degraded video file: numbers of frames, and of pixels, even as the codecs need it."""

    frames: int
    width: int
    height: int
    seconds: float
    """From the first frame to the last."""
    bits: int
    """Of all frames, without the container."""

    @property
    def bpp(self) -> float:
        """Return bits per pixel."""
        return self.bits / (self.frames * self.width * self.height)

    @property
    def rate(self) -> float | None:
        """Return bits per second; None for a single frame."""
        return self.bits / self.seconds if self.seconds else None

    def to_json(self) -> dict[str, Any]:
        """Return the fields, ``bpp`` and ``bits_per_second``."""
        return {**super().to_json(), "bpp": self.bpp, "bits_per_second": self.rate}


@dataclass(frozen=True, kw_only=True)
class DegradeSettings(Settings):
    """Settings of a degraded copy of a video."""

    video: Path = option(help="a video file", positional=True, metavar="VIDEO")
    out: Path = option(help="an .mp4, .mov or .mkv file, without sound", metavar="FILE")
    scale: float = option(1.0, "factor to shrink by", least=1)
    qp: int = option(28, "quantiser of all frames", least=0, most=51)
    fps: float | None = option(None, "most frames per second (default: all frames)", least=0.01)
    codec: Literal["x264", "x265"] = option("x264", "encoder")


def degrade_video(settings: DegradeSettings, progress: Progress | None = None) -> DegradedVideo:
    """Write a degraded copy of a video, upright, its frames at their own times; it appears complete or not at all."""
    out, codec = settings.out, find_codec(settings.codec)
    _require_files(settings.video, out)
    options = {"preset": codec.preset, **codec.options(settings.qp)}
    with write_video(out, options, encoder=codec.encoder, tagged=True, threads=1) as target:
        for time, image in thinned(read_frames(settings.video), settings.fps, progress):
            small = padded(_shrunk(image, settings.scale, (0, 1)), codec.min_side)
            if target.size not in (None, small.shape[:2]):
                raise DataError(
                    f"frame at {time:.3f} s is {image.shape[1]} x {image.shape[0]}, unlike those before",
                    code="unsupported", field="source",
                )  # fmt: skip
            target.write(small, round(time / MPEG_CLOCK))
        if target.size is None:
            raise FileError("contains no frame", code="empty", file=settings.video)
    height, width = target.size
    return DegradedVideo(target.frames, width, height, float(target.last * MPEG_CLOCK), target.bits)


def _shrunk(frames: Frames, scale: float, axes: tuple[int, int]) -> Frames:
    side = min(frames.shape[axis] for axis in axes)
    if scale > side:
        problem = f"leaves no pixel of frames whose shorter side has {side}"
        raise DataError(problem, code="out-of-range", field="scale", value=scale, hint=f"1 to {side}")
    return frames if scale == 1 else np.asarray(imresize(frames, 1 / scale, axes=axes), np.uint8)


def _require_files(source: Path, out: Path) -> None:
    require_regular(source)
    if not source.is_file():
        raise FileError("no such file", code="file-missing", file=source)
    if out.suffix.lower() not in CONTAINERS:
        hint = f"name it {' or '.join(f'*{suffix}' for suffix in CONTAINERS)}"
        raise FileError("unknown kind of file", code="unsupported", file=out, hint=hint)
    require_other_file(out, source)


def thinned(
    video: Iterable[Frame], fps: float | None, progress: Progress | None = None
) -> Iterator[tuple[float, Frames]]:
    """Yield the frames that are kept, (H, W, 3) upright, with their seconds since the first."""
    keep, start = thin(fps), math.nan
    for frame in video:
        start = frame.time if math.isnan(start) else start
        if keep(frame.time):
            yield frame.time - start, frame.image
        if progress:
            progress(1)
