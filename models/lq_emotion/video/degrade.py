"""Degrade video as a low-quality channel does: fewer pixels, coarser coding, fewer frames.

Frames shrink as in the authors' data, by MATLAB's imresize (bicubic, antialiased). The authors enlarge them again to
the size of the net's input; here they stay small, as they are coded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError, FileError
from caffe_compat.formats.regular_file import require_other_file, require_regular
from lq_emotion.common.progress import Progress
from lq_emotion.common.records import Record
from lq_emotion.video.codecs import Codec, find_codec
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
    _require_scale(scale)
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


def degrade_video(
    source: Path,
    out: Path,
    *,
    scale: float = 1,
    qp: int = 28,
    fps: float | None = None,
    codec: str = "x264",
    progress: Progress | None = None,
) -> DegradedVideo:
    """Write a degraded copy of a video, without sound, its frames at their own times.

    Parameters
    ----------
    source : a video that FFmpeg reads; a rotation that the file asks for is applied.
    out : an .mp4, .mov or .mkv file; it appears complete or not at all.
    scale : the factor s.
    qp : quantiser of all frames.
    fps : most frames per second; the others are left out. None keeps all.
    codec : ``x264`` or ``x265``.
    progress : called with 1 for each frame read.

    Raises
    ------
    CaffeCompatError
        The source is not a video or damaged, an option is invalid, or PyAV is missing.
    """
    chosen = _require_options(source, out, scale, qp, fps, codec)
    options = {"preset": chosen.preset, **chosen.options(qp)}
    with write_video(out, options, encoder=chosen.encoder, tagged=True, threads=1) as target:
        for time, image in thinned(read_frames(source), fps, progress):
            small = padded(_shrunk(image, scale, (0, 1)), chosen.min_side)
            if target.size not in (None, small.shape[:2]):
                raise DataError(
                    f"frame at {time:.3f} s is {image.shape[1]} x {image.shape[0]}, unlike those before",
                    code="unsupported", field="source",
                )  # fmt: skip
            target.write(small, round(time / MPEG_CLOCK))
        if target.size is None:
            raise FileError("contains no frame", code="empty", file=source)
    height, width = target.size
    return DegradedVideo(target.frames, width, height, float(target.last * MPEG_CLOCK), target.bits)


def _require_scale(scale: float) -> None:
    if not (math.isfinite(scale) and scale >= 1):
        raise DataError("out of range", code="out-of-range", field="scale", value=scale, hint="1 or more")


def _shrunk(frames: Frames, scale: float, axes: tuple[int, int]) -> Frames:
    side = min(frames.shape[axis] for axis in axes)
    if scale > side:
        problem = f"leaves no pixel of frames whose shorter side has {side}"
        raise DataError(problem, code="out-of-range", field="scale", value=scale, hint=f"1 to {side}")
    return frames if scale == 1 else np.asarray(imresize(frames, 1 / scale, axes=axes), np.uint8)


def _require_options(source: Path, out: Path, scale: float, qp: int, fps: float | None, codec: str) -> Codec:
    _require_scale(scale)
    thin(fps)
    chosen = find_codec(codec, qp)
    if chosen.family is None:
        raise DataError("not for files", code="unsupported", field="codec", value=codec, hint="x264 or x265")
    require_regular(source)
    if not source.is_file():
        raise FileError("no such file", code="file-missing", file=source)
    if out.suffix.lower() not in CONTAINERS:
        hint = f"name it {' or '.join(f'*{suffix}' for suffix in CONTAINERS)}"
        raise FileError("unknown kind of file", code="unsupported", file=out, hint=hint)
    require_other_file(out, source)
    return chosen


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
