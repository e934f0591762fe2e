"""A face in an image, what finds faces, and which of overlapping boxes stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError

Image = npt.NDArray[np.uint8]
"""(H, W, 3), red first."""
Point = tuple[float, float]
"""x and y in pixels; (0, 0) is the middle of the first pixel."""


@dataclass(frozen=True)
class Face:
    """A face in an image: its box in pixels, `x` and `y` are those of its left and upper edge, 0-based."""

    x: float
    y: float
    width: float
    height: float
    score: float
    """The detector's, from 0 to 1; NaN if it has none."""
    landmarks: tuple[Point, Point, Point, Point, Point] | None = None
    """Both eyes, the tip of the nose, both corners of the mouth, further left in the image first; None if unknown."""


class FaceDetector(Protocol):
    """Finds the faces of images."""

    def __call__(self, images: Sequence[Image]) -> list[list[Face]]:
        """Return the faces of each image, (H, W, 3) uint8, red first, of any size; by falling score."""


def require_images(images: Sequence[npt.NDArray[np.generic]]) -> None:
    """Raise DataError unless each image is (H, W, 3) uint8 and has pixels."""
    for position, image in enumerate(images):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise DataError(
                f"image {position} is {image.dtype} {image.shape}; expected uint8 (H, W, 3)", code="shape-mismatch",
                field="images", value=image.shape, hint="a gray image: np.repeat(gray[..., None], 3, axis=2)",
            )  # fmt: skip


def suppress(
    boxes: npt.NDArray[np.floating],
    scores: npt.NDArray[np.floating],
    threshold: float,
    *,
    of_smaller: bool = False,
    pixel: float = 1.0,
) -> npt.NDArray[np.intp]:
    """Return the boxes to keep of (n, 4) left, top, right, bottom, by falling score (n,).

    Of equal scores the later one is kept. `threshold` is the largest overlap with a better box: the intersection's part
    of the union or, `of_smaller`, of the smaller box (MTCNN's "Min"). `pixel` is added to sides: 1 where right and
    bottom are the last pixels of the box, 0 where they are edges.
    """
    order = np.argsort(scores, kind="stable")[::-1]
    left, top, right, bottom = boxes[order].T.astype(np.float64)
    area = (right - left + pixel) * (bottom - top + pixel)
    across = np.minimum(right[:, None], right) - np.maximum(left[:, None], left) + pixel
    down = np.minimum(bottom[:, None], bottom) - np.maximum(top[:, None], top) + pixel
    common = np.maximum(across, 0) * np.maximum(down, 0)
    whole = np.minimum(area[:, None], area) if of_smaller else area[:, None] + area - common
    conflicts = common > threshold * whole
    stays = np.ones(len(order), bool)
    for position in range(len(order)):
        if stays[position]:
            stays[position + 1 :] &= ~conflicts[position, position + 1 :]
    return order[stays]
