"""Track the face of a video: detect it, drop outliers, bridge short gaps and smooth the boxes.

Smoothing saves bits: where crops are coded as video, jittering boxes cost 20 to 27 % more bits at the same quality.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError
from lq_emotion.common.progress import Progress
from lq_emotion.common.settings import Settings, option
from lq_emotion.faces.boxfiles import TrackedBoxes
from lq_emotion.faces.detect import Box, Cascade, Detector
from matlab_ports.videoreader import VideoReader

Doubles = npt.NDArray[np.float64]
_MAX_SHIFT = 0.5  # of a face's width, between detections of the same face
_MAX_SCALE = 1.6  # ratio of widths between detections of the same face
_NEIGHBOURS = 5  # detections on each side that an outlier is compared with, within 4 times as many inspected frames
_RESEARCH = 100  # frames between searches of the whole frame: the tracked face may be a portrait on the wall
_SWITCH = 1.3  # times larger than the tracked face, a face must be to replace it


@dataclass(frozen=True, kw_only=True)
class BoxSettings(Settings):
    """Settings of face detection in a video.

    On two real talking heads of 640 x 360 with boxes 190 and 260 wide, 95 % of the coordinates were within 3 pixels of
    those of `every` = 1 for 3, and within 6 for 10. The default of `hold`, about half a second, is a choice, not a
    measurement.
    """

    every: int = option(1, "detect faces in every K-th frame and interpolate", least=1, metavar="K", group="faces")
    smooth: int = option(11, "average boxes over N frames, an odd number; 1 for none", least=1, group="faces")
    hold: int = option(12, least=0, offered=False)
    """Frames without a face for which the last box remains."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.smooth % 2 == 0:
            raise DataError("must be odd", code="invalid", field="--smooth", value=self.smooth, hint="1, 3, 5, ...")


def find_boxes(
    video_path: str | Path,
    times: npt.ArrayLike,
    settings: BoxSettings | None = None,
    *,
    detector: Detector | None = None,
    progress: Progress | None = None,
) -> TrackedBoxes:
    """Find the face in every frame of a video; one frame is read for each of the times, (T,) seconds.

    After `hold` frames without a detection the box is zero. The moving average of the boxes stops at jumps.
    """
    settings = settings or BoxSettings()
    times, every = np.asarray(times, np.float64).reshape(-1), settings.every
    detections = _detect(Path(video_path), len(times), every, detector or Cascade(), progress)
    boxes, rejected = _drop_outliers(detections, every)
    boxes = _interpolate(boxes, every)
    detected = ~np.isnan(boxes[:, 0])
    boxes, held = _hold_last(boxes, settings.hold)
    bbox = np.nan_to_num(_smooth(boxes, settings.smooth), nan=0.0)
    return TrackedBoxes(bbox, times, detected, held, rejected)


def _detect(path: Path, count: int, every: int, detector: Detector, progress: Progress | None) -> Doubles:
    """Return (T, 4) boxes, NaN where a frame was not inspected or has no face."""
    detections = np.full((count, 4), np.nan)
    previous: Box | None = None
    last_search = 0
    with VideoReader(path, planes="luma" if find_spec("av") else "rgb") as video:
        for frame in range(count):
            if not video.advance():
                raise DataError(
                    f"the video has {video.frames_read} frames, its table of frame times {count} rows",
                    code="wrong-count", file=path, hint="check that the video is complete",
                )  # fmt: skip
            if frame % every == 0 or frame == count - 1:
                search_all = frame - last_search >= _RESEARCH
                previous = _inspect(detector, _gray(video.frame()), previous, search_all=search_all)
                last_search = frame if search_all else last_search
                if previous is not None:
                    detections[frame] = previous
            if progress:
                progress(1)
    return detections


def _inspect(detector: Detector, gray: npt.NDArray[np.uint8], previous: Box | None, *, search_all: bool) -> Box | None:
    """Return the tracked face or, if the whole frame is searched and has a much larger face, that one."""
    face = detector(gray, previous)
    if not search_all or previous is None or face is None:
        return face
    largest = detector(gray, None)
    return largest if largest is not None and largest.width > _SWITCH * face.width else face


def _gray(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    if image.ndim == 2:
        return image
    import cv2

    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)


def _drop_outliers(detections: Doubles, every: int) -> tuple[Doubles, int]:
    """Drop detections that match neither those just before nor those just after (a face may move for good)."""
    boxes = detections.copy()
    frames = np.flatnonzero(~np.isnan(detections[:, 0]))
    rejected = 0
    for index, frame in enumerate(frames):
        sides = [frames[max(0, index - _NEIGHBOURS) : index], frames[index + 1 : index + 1 + _NEIGHBOURS]]
        near = [side[np.abs(side - frame) <= 4 * _NEIGHBOURS * every] for side in sides]
        matches = [
            _same_face(detections[frame], np.median(detections[side], axis=0))
            for side in near
            if len(side) == _NEIGHBOURS
        ]
        if matches and not np.any(matches):
            boxes[frame] = np.nan
            rejected += 1
    return boxes, rejected


def _same_face(a: Doubles, b: Doubles) -> npt.NDArray[np.bool_]:
    """Return whether boxes (..., 4) can be the same face a moment apart; never for NaN."""
    shift = np.abs((a[..., :2] + a[..., 2:] / 2) - (b[..., :2] + b[..., 2:] / 2)).max(axis=-1)
    width_a, width_b = a[..., 2], b[..., 2]
    return np.asarray(
        (shift <= _MAX_SHIFT * width_b) & (width_a < _MAX_SCALE * width_b) & (width_b < _MAX_SCALE * width_a)
    )


def _interpolate(boxes: Doubles, every: int) -> Doubles:
    """Interpolate frames between two successive inspected frames with the same face."""
    if every == 1:
        return boxes
    filled = boxes.copy()
    for first, second in pairwise(np.flatnonzero(~np.isnan(boxes[:, 0]))):
        if 1 < second - first <= every and _same_face(boxes[second], boxes[first]):
            weight = (np.arange(first + 1, second) - first)[:, None] / (second - first)
            filled[first + 1 : second] = (1 - weight) * boxes[first] + weight * boxes[second]
    return filled


def _hold_last(boxes: Doubles, hold: int) -> tuple[Doubles, int]:
    """Keep the last box for up to `hold` frames without a face; return the number of frames filled too."""
    filled, last, held = boxes.copy(), -1, 0
    for frame, box in enumerate(boxes):
        if not np.isnan(box[0]):
            last = frame
        elif last >= 0 and frame - last <= hold:
            filled[frame] = boxes[last]
            held += 1
    return filled, held


def _smooth(boxes: Doubles, window: int) -> Doubles:
    """Average boxes within runs of frames that show the same face; windows shrink symmetrically at the ends of a run.

    A run ends where there is no face or the face jumps: the mean of two faces is on neither.
    """
    smooth = boxes.copy()
    has_face = ~np.isnan(boxes[:, 0])
    continues = np.concatenate([[False], _same_face(boxes[1:], boxes[:-1]), [False]])  # from the frame before
    starts, stops = np.flatnonzero(has_face & ~continues[:-1]), np.flatnonzero(has_face & ~continues[1:]) + 1
    for start, stop in zip(starts, stops, strict=True):
        total = np.concatenate([np.zeros((1, 4)), np.cumsum(boxes[start:stop], axis=0)])
        index = np.arange(stop - start)
        reach = np.minimum(np.minimum(index, stop - start - 1 - index), window // 2)
        smooth[start:stop] = (total[index + reach + 1] - total[index - reach]) / (2 * reach + 1)[:, None]
    return smooth
