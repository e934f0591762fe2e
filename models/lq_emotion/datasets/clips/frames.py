"""Read the frames of a clip at a constant rate, whatever that of its file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError, FileError
from lq_emotion.datasets.clips.table import Clip

Image = npt.NDArray[np.uint8]
_EARLY = 5e-4  # seconds: times of containers are rounded


def frames_of(clip: Clip, rate: float) -> Iterator[tuple[float, Image]]:
    """Yield the time of each sample and the frame that is shown then.

    Parameters
    ----------
    clip : of a video: sampled from its start on; a picture has one frame, at 0 s.
    rate : samples per second.

    Yields
    ------
    Seconds from the start of the file, and the frame: (H, W, 3) uint8, red first, upright.

    Raises
    ------
    DataError
        PyAV is not installed, or the clip starts after the end of the video.
    FileError
        The file is not a video or a picture, or is damaged.
    """
    if clip.is_picture:
        yield 0.0, _picture(clip)
        return
    time = clip.start
    samples = 0
    for shown, until, frame in _shown(clip):
        image: Image | None = None
        while shown - _EARLY <= time < min(until - _EARLY, clip.end - _EARLY):
            image = _upright(frame) if image is None else image
            yield time, image
            samples += 1
            time = clip.start + samples / rate
        if time < shown - _EARLY and not samples:  # the file has a gap at the clip's start
            time = clip.start + np.ceil((shown - clip.start) * rate - _EARLY) / rate
        if shown >= clip.end:
            break
    if not samples:
        problem = f"{clip.file.name} has no frame from {clip.start:g} s on"
        raise DataError(problem, code="out-of-range", field="start", value=clip.start, hint="the video is shorter")


def _shown(clip: Clip) -> Iterator[tuple[float, float, Any]]:
    """Yield when each frame is shown, until when, and the frame, from the one shown at the clip's start on."""
    try:
        import av
    except ImportError:
        hint = "pip install 'caffe-compat[video]'"
        raise DataError("PyAV, which reads videos, is not installed", code="dependency-missing", hint=hint) from None
    try:
        with av.open(str(clip.file), metadata_errors="ignore") as container:
            if not container.streams.video:
                raise FileError("has no video stream", code="wrong-format", file=clip.file)
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            step = 1 / float(stream.average_rate or 25)
            origin = float((stream.start_time or 0) * (stream.time_base or 0))
            if clip.start:
                container.seek(int((clip.start + origin) * 1_000_000))  # the key frame before it
            last: tuple[float, Any] | None = None
            for number, frame in enumerate(container.decode(stream)):
                shown = number * step if frame.pts is None else float(frame.time) - origin
                if last is not None:
                    yield last[0], shown, last[1]
                last = shown, frame
            if last is not None:
                yield last[0], last[0] + step, last[1]
    except av.FFmpegError as error:
        problem = f"cannot be read as a video: {error.strerror}"
        raise FileError(problem, code="damaged-file", file=clip.file, hint="copy it again") from None


def _upright(frame: Any) -> Image:
    image = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)))  # phones store what is upright as rotated


def _picture(clip: Clip) -> Image:
    from PIL import Image as Pictures
    from PIL import ImageOps

    try:
        with Pictures.open(clip.file) as picture:
            return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"), np.uint8)
    except (OSError, ValueError, Pictures.DecompressionBombError) as error:
        problem = f"cannot be read as a picture: {error}"
        raise FileError(problem, code="damaged-file", file=clip.file, hint="save it as PNG") from None
