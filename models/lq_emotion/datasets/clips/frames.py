"""Read the frames of a clip at a constant rate, whatever that of its file."""

from __future__ import annotations

import math
from collections.abc import Iterator

from caffe_compat.errors import DataError
from lq_emotion.datasets.clips.table import Clip
from lq_emotion.video.container import Video
from lq_emotion.video.frames import Frame, Image, Selection
from lq_emotion.video.images import read_image

_EARLY = 5e-4  # seconds: times of containers are rounded
_BEFORE = 1.0  # second before the start, in which the frame shown at the start begins


def frames_of(clip: Clip, rate: float) -> Iterator[tuple[float, Image]]:
    """Yield the time of each sample, in seconds of the file, and the frame shown then, (H, W, 3) uint8 upright.

    A video is sampled from the clip's start on, `rate` times a second; an image has one frame, at 0 s.
    """
    if clip.is_image:
        yield 0.0, read_image(clip.file)
        return
    sample, empty = 0, True
    for frame, until in _shown(clip):
        sample = max(sample, math.ceil((frame.time - _EARLY - clip.start) * rate))  # nothing is shown in a gap
        while (time := clip.start + sample / rate) < min(until, clip.end) - _EARLY:
            yield time, frame.image
            sample, empty = sample + 1, False
    if empty:
        problem = f"{clip.file.name} has no frame from {clip.start:g} s on"
        raise DataError(problem, code="out-of-range", field="start", value=clip.start, hint="the video is shorter")


def _shown(clip: Clip) -> Iterator[tuple[Frame, float]]:
    """Yield the frames of a video from before the clip's start on, each with the time until which it is shown."""
    selection = Selection(start=max(0.0, clip.start - _BEFORE), end=clip.end)
    with Video(str(clip.file), selection) as video:
        last: Frame | None = None
        for frame in video:
            if last is not None:
                yield last, frame.time
            last = frame
        if last is not None:
            yield last, last.time + 1 / (video.rate or 25)
        if video.problem is not None and video.problem.code != "out-of-range":  # no frame: `frames_of` has the error
            raise video.problem
