"""Face boxes of a recording: those somebody made, or found in its video."""

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
FOUND = "found"  # where boxes come from that nobody gave


@dataclass(frozen=True)
class BoxSettings:
    """How faces are found.

    Attributes
    ----------
    every : look into every k-th frame, and interpolate.
    smooth : average boxes over so many frames, an odd number; 1 leaves them.
    hold : keep the last box for up to so many frames without a face.
    """

    every: int = 1
    smooth: int = 11
    hold: int = 12


class Boxes(NamedTuple):
    """Face boxes at the times of a video's frames.

    Attributes
    ----------
    bbox : (T, 4) left, top, width, height from 1; zeros where there is no face.
    time : (T,) seconds.
    held : frames with the box of a neighbour, as no face was found there.
    source : ``found``, or the name of the file they are from.
    """

    bbox: Doubles
    time: Doubles
    held: int
    source: str

    def write(self, path: Path) -> None:
        """Write bbox.mat in the authors' form."""
        write_boxes(path, self.bbox, self.time)


def boxes_of(
    video: Path, times: Doubles, settings: BoxSettings, *, given: Path | None = None, progress: Progress | None = None
) -> Boxes:
    """Return the boxes at the given times.

    Parameters
    ----------
    video : to find faces in.
    times : (T,) seconds, of the video's frames.
    settings : how to find them.
    given : a file of boxes; no face is looked for then.
    progress : called with the number of frames dealt with.

    Raises
    ------
    CaffeCompatError, PortError
        The file or the video cannot be used, or boxes are missing at some times.
    """
    if given is not None:
        there = read_boxes(given)
        found = match_times(times, there.time, what="file of face boxes", where=given)
        return Boxes(there.bbox[found], snap_times(there.time[found], times), 0, given.name)
    boxes = find_boxes(
        video, times, every=settings.every, hold=settings.hold, smooth=settings.smooth, progress=progress
    )
    return Boxes(boxes.bbox, np.asarray(times), boxes.report.held, FOUND)
