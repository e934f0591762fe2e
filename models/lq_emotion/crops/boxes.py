"""Face boxes of a recording: from a file, or detected in its video."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lq_emotion.datasets.avec.times import match_times, snap_times
from lq_emotion.faces.boxfiles import read_boxes, write_boxes
from lq_emotion.faces.track import find_boxes

Doubles = npt.NDArray[np.float64]
Progress = Callable[[int], None]
FOUND = "found"  # the source of boxes that were detected


@dataclass(frozen=True)
class BoxSettings:
    """Options of face detection; see `faces.track.find_boxes`.

    Attributes
    ----------
    every : inspect every k-th frame and interpolate.
    smooth : frames in the moving average, an odd number; 1 for none.
    hold : frames without a face in which to keep the last box.
    """

    every: int = 1
    smooth: int = 11
    hold: int = 12


class FrameBoxes(NamedTuple):
    """Face boxes at the times of a video's frames.

    Attributes
    ----------
    bbox : (T, 4) left, top, width, height in 1-based pixels; zeros where there is no face.
    time : (T,) seconds.
    held : frames without a detection that keep the box of an earlier frame.
    source : ``found``, or the name of the file.
    """

    bbox: Doubles
    time: Doubles
    held: int
    source: str

    def write(self, path: Path) -> None:
        """Write bbox.mat as the authors' script loads it."""
        write_boxes(path, self.bbox, self.time)


def boxes_of(
    video: Path, times: Doubles, settings: BoxSettings, *, given: Path | None = None, progress: Progress | None = None
) -> FrameBoxes:
    """Return the boxes at the times (T,) of a video's frames, from the file `given` or by detection."""
    if given is not None:
        file = read_boxes(given)
        rows = match_times(times, file.time, what="file of face boxes", where=given)
        return FrameBoxes(file.bbox[rows], snap_times(file.time[rows], times), 0, given.name)
    boxes = find_boxes(
        video, times, every=settings.every, hold=settings.hold, smooth=settings.smooth, progress=progress
    )
    return FrameBoxes(boxes.bbox, np.asarray(times), boxes.counts.held, FOUND)
