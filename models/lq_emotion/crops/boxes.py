"""Face boxes of a recording: from a file, or detected in its video."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lq_emotion.common.progress import Progress
from lq_emotion.common.settings import Settings, option
from lq_emotion.datasets.avec.times import match_times, snap_times
from lq_emotion.faces.boxfiles import read_boxes
from lq_emotion.faces.track import TrackedBoxes, find_boxes

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class BoxSettings(Settings):
    """Settings of face detection; see `faces.track.find_boxes`."""

    every: int = option(1, "detect faces in every K-th frame and interpolate", least=1, metavar="K", group="faces")
    smooth: int = option(11, "average boxes over N frames, an odd number; 1 for none", least=1, group="faces")
    hold: int = option(12, "keep the last box for up to N frames without a face", least=0, group="faces")


def boxes_of(
    video: Path, times: Doubles, settings: BoxSettings, *, given: Path | None = None, progress: Progress | None = None
) -> TrackedBoxes:
    """Return the boxes at the times (T,) of a video's frames, from the file `given` or by detection."""
    if given is not None:
        file = read_boxes(given)
        rows = match_times(times, file.time, what="file of face boxes", where=given)
        boxes = file.bbox[rows]
        return TrackedBoxes(boxes, snap_times(file.time[rows], times), np.asarray(boxes.any(axis=1)), source=given.name)
    return find_boxes(video, times, every=settings.every, hold=settings.hold, smooth=settings.smooth, progress=progress)
