"""Versions of a clip, smaller and with fewer frames per second, and the crops of its face in each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError
from lq_emotion.common.records import Record
from lq_emotion.faces.boxfiles import TrackedBoxes
from lq_emotion.faces.track import find_boxes
from lq_emotion.video.codecs import find_codec
from lq_emotion.video.container import read_frames
from lq_emotion.video.encode import encode
from lq_emotion.video.frames import thin

Frames = npt.NDArray[np.uint8]
Doubles = npt.NDArray[np.float64]
SIZES = ((1280, 720), (640, 360), (256, 144))
RATES = (30.0, 15.0, 5.0)


@dataclass(frozen=True)
class Version(Record):
    """A version of clips: the size of a frame, and how it is coded."""

    width: int
    height: int
    fps: float
    """Most frames per second."""
    qp: int | None = None
    """Quantiser of all frames; None leaves them uncoded."""
    codec: str = "x264"

    def __post_init__(self) -> None:
        if min(self.width, self.height) < 16:
            value = (self.width, self.height)
            raise DataError("out of range", code="out-of-range", field="size", value=value, hint="16 or more")
        thin(self.fps)
        find_codec(self.codec, self.qp)

    @property
    def name(self) -> str:
        """As in files: ``360p15``, ``360p15_x264_qp32``; with the width where it is not 16:9, ``480x360p15``."""
        size = f"{self.height}" if self.width * 9 == self.height * 16 else f"{self.width}x{self.height}"
        coded = "" if self.qp is None else f"_{self.codec}_qp{self.qp}"
        return f"{size}p{self.fps:g}{coded}"


class ClipCrops(NamedTuple):
    """The crops of a clip: `frames` (T, side, side, 3) uint8, `times` (T,) in seconds, `bits` (T,), NaN if uncoded."""

    frames: Frames
    times: Doubles
    bits: Doubles


def crop_version(
    frames: Frames, times: Doubles, boxes: Doubles, version: Version, *, side: int = 224, grow: float = 0.0
) -> ClipCrops:
    """Return the crops of a clip (T, H, W, 3) in a version; boxes (T, 4) are in 1-based pixels at full size.

    `side` is the height and width of a crop in pixels; `grow` the part of its side by which a box is enlarged, about
    its centre: VGGFace2's authors use 0.3.
    """
    import cv2

    keep = thin(version.fps)
    indices = [index for index, time in enumerate(times.tolist()) if keep(time)]
    size = (version.width, version.height)
    small = np.stack([_resized(frames[index], size) for index in indices])
    bits = np.full(len(indices), np.nan)
    if version.qp is not None:
        encoded = encode(small, version.codec, qp=version.qp, fps=max(1, round(version.fps)))
        small, bits = encoded.decoded, np.array(encoded.frame_bits, np.float64)
    scale = np.array([version.width / frames.shape[2], version.height / frames.shape[1]])
    corners = (boxes[indices, :2] - 1) * scale
    sides = boxes[indices, 2:] * scale
    centres, sides = corners + sides / 2, sides * (1 + grow)
    crops = []
    for image, centre, extent in zip(small, centres, sides, strict=True):
        zoom = side / extent
        shift = -(centre - extent / 2) * zoom + 0.5 * zoom - 0.5  # pixels are at the middle of their squares
        matrix = np.array([[zoom[0], 0, shift[0]], [0, zoom[1], shift[1]]])
        if zoom.max() < 1:  # against aliasing
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), float(0.5 / zoom.max())), np.uint8)
        crops.append(
            cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        )
    return ClipCrops(np.asarray(crops, np.uint8), times[indices], bits)


def _resized(image: Frames, size: tuple[int, int]) -> Frames:
    import cv2

    if (image.shape[1], image.shape[0]) == size:
        return image
    shrinks = size[0] <= image.shape[1]
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC), np.uint8)


def read_clip(clip: Path) -> tuple[Frames, Doubles]:
    """Return the frames of a clip, (T, H, W, 3) uint8 RGB, and their times, (T,) in seconds."""
    frames = list(read_frames(clip))
    return np.stack([frame.image for frame in frames]), np.array([frame.time for frame in frames])


def clip_boxes(clip: Path, times: Doubles) -> TrackedBoxes:
    """Return a box for each of (T,) times of a clip; frames without a face have that of the nearest with one."""
    tracked = find_boxes(clip, times)
    seen = np.flatnonzero(tracked.bbox.any(axis=1))
    if not len(seen):
        raise DataError("no face was found in this clip", code="empty", file=clip)
    nearest = seen[np.abs(np.arange(len(times))[:, None] - seen).argmin(axis=1)]
    return tracked._replace(bbox=tracked.bbox[nearest], detected=np.isin(np.arange(len(times)), seen))
