"""Degrade video as a low-quality channel does: fewer pixels, coarser coding, fewer frames.

Frames shrink as in the authors' data, by MATLAB's imresize (bicubic, antialiased). The authors enlarge them again to
the size of the net's input; here they stay small, as they are coded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError, FileError
from caffe_compat.formats.files import atomic_path
from caffe_compat.formats.regular_file import require_other_file, require_regular
from lq_emotion.common.records import Record
from lq_emotion.video.codecs import Codec, find_codec
from lq_emotion.video.container import Video
from lq_emotion.video.encode import COLOUR, Frames, coded_side, encode, load_av, video_frame
from lq_emotion.video.rates import thin
from matlab_ports.imresize import imresize

Progress = Callable[[int], object]
CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
_BASE = Fraction(1, 90_000)  # seconds; MPEG's clock, of which all usual rates are parts
_BT601, _LIMITED = 6, 1  # FFmpeg's AVCOL_SPC_SMPTE170M and AVCOL_RANGE_MPEG


@dataclass(frozen=True)
class Degraded:
    """Degraded frames.

    Attributes
    ----------
    frames : (T, h, w) or (T, h, w, 3) uint8.
    bits : (T,) float64, bits of each frame, in the order in which they are shown; NaN if they were not coded.
    """

    frames: Frames = field(repr=False)
    bits: npt.NDArray[np.float64] = field(repr=False)


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
    """A degraded video file.

    Attributes
    ----------
    frames : in the file.
    width, height : of a frame in pixels, even as the codecs need it.
    seconds : from the first frame to the last.
    bits : of all frames, without the container.
    """

    frames: int
    width: int
    height: int
    seconds: float
    bits: int

    @property
    def bpp(self) -> float:
        """Return bits per pixel."""
        return self.bits / (self.frames * self.width * self.height)

    @property
    def rate(self) -> float | None:
        """Return bits per second; None for a single frame."""
        return self.bits / self.seconds if self.seconds else None


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
    fps : at most so many frames per second; the others are left out. None keeps all.
    codec : ``x264`` or ``x265``.
    progress : called with 1 for each frame read.

    Raises
    ------
    CaffeCompatError
        The source is not a video or damaged, an option is invalid, or PyAV is missing.
    """
    chosen = _require_options(source, out, scale, qp, fps, codec)
    av = load_av()
    with atomic_path(out) as partial:
        try:
            with (
                Video(str(source)) as video,
                av.open(str(partial), "w", format=CONTAINERS[out.suffix.lower()]) as target,
            ):
                result = _write(av, target, thinned(video, fps, progress), scale, chosen, qp)
                if video.problem is not None:
                    raise video.problem
        except av.FFmpegError as error:
            problem = f"cannot be converted: {error.strerror or error}"
            raise FileError(problem, code="damaged-file", file=source) from None
        if result is None:
            raise FileError("holds no frame", code="empty", file=source)
    return result


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


def thinned(video: Video, fps: float | None, progress: Progress | None = None) -> Iterator[tuple[float, Frames]]:
    """Yield the frames that are kept, (H, W, 3) upright, with their seconds since the first."""
    keep, start = thin(fps), math.nan
    for frame in video:
        start = frame.time if math.isnan(start) else start
        if keep(frame.time):
            yield frame.time - start, frame.image
        if progress:
            progress(1)


def _write(
    av: Any,
    target: Any,
    images: Iterator[tuple[float, Frames]],
    scale: float,
    codec: Codec,
    qp: int,
) -> DegradedVideo | None:
    output, frames, bits, time = None, 0, 0, 0.0
    for time, image in images:
        small = _shrunk(image, scale, (0, 1))
        extra = [coded_side(side, codec.min_side) - side for side in small.shape[:2]]
        small = np.pad(small, [(0, extra[0]), (0, extra[1]), (0, 0)], mode="edge")
        if output is None:
            output = _add_stream(target, codec, qp, small.shape)
        elif small.shape[:2] != (output.height, output.width):
            raise DataError(
                f"frame at {time:.3f} s is {image.shape[1]} x {image.shape[0]}, unlike those before",
                code="unsupported", field="source",
            )  # fmt: skip
        frame = video_frame(av, np.ascontiguousarray(small), COLOUR)
        frame.pts, frame.time_base = round(time / _BASE), _BASE
        frame.color_range, frame.colorspace = _LIMITED, _BT601
        bits += _mux(target, output.encode(frame))
        frames += 1
    if output is None:
        return None
    bits += _mux(target, output.encode())
    return DegradedVideo(frames, output.width, output.height, float(round(time / _BASE) * _BASE), bits)


def _add_stream(target: Any, codec: Codec, qp: int, shape: tuple[int, ...]) -> Any:
    output = target.add_stream(codec.encoder, options={"preset": codec.preset, **codec.options(qp)})
    output.height, output.width = shape[:2]
    output.pix_fmt = COLOUR
    context = output.codec_context
    context.time_base, context.thread_count = _BASE, 1
    context.colorspace, context.color_range = _BT601, _LIMITED
    return output


def _mux(target: Any, packets: list[Any]) -> int:
    """Write packets; return their bits."""
    bits: int = sum(8 * packet.size for packet in packets)
    target.mux(packets)
    return bits
