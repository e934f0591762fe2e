"""Cut a face out of a frame for a net."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from caffe_compat.errors import DataError
from lq_emotion.common.records import Record
from lq_emotion.faces.face import Face, Image

_WIDEST = 10  # margin


@dataclass(frozen=True)
class FaceCrop(Record):
    """The rule by which a face is cut out of a frame for a net, before its preprocessing."""

    margin: float = 0.0
    """Added on each side of the box, as a part of the side's length."""
    square: bool = True
    """The shorter side grows to the longer, with the same centre, before the margin is added."""
    transposed: bool = False
    """The net takes images with rows and columns exchanged, as in MATLAB's HDF5 files."""

    def __post_init__(self) -> None:
        if not -0.5 < self.margin <= _WIDEST:  # NaN neither
            raise ValueError(f"margin is {self.margin}, expected more than -0.5 and up to {_WIDEST}")

    def cut(self, image: Image, face: Face) -> Image:
        """Return the crop (h, w, 3) of an image (H, W, 3), uint8, red first; (w, h, 3) if `transposed`.

        The face's box is in the image's pixels; pixels outside the frame repeat its edge. A box outside the frame, or
        not finite, is refused.
        """
        if not np.isfinite([face.x, face.y, face.width, face.height]).all():
            raise DataError("the box is not finite", code="not-finite", field="face", value=face)
        across, down = (max(face.width, face.height),) * 2 if self.square else (face.width, face.height)
        centre_x, centre_y = face.x + face.width / 2, face.y + face.height / 2
        half_x, half_y = across * (0.5 + self.margin), down * (0.5 + self.margin)
        left, top = round(centre_x - half_x), round(centre_y - half_y)
        right, bottom = max(left + 1, round(centre_x + half_x)), max(top + 1, round(centre_y + half_y))
        height, width = image.shape[:2]
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
        if x0 >= x1 or y0 >= y1:
            problem = f"the box is outside the frame of {width} x {height}"
            raise DataError(problem, code="out-of-range", field="face", value=(left, top, right, bottom))
        crop = image[y0:y1, x0:x1]
        beyond = (y0 - top, bottom - y1, x0 - left, right - x1)
        if any(beyond):
            crop = np.asarray(cv2.copyMakeBorder(crop, *beyond, cv2.BORDER_REPLICATE), np.uint8)
        return np.ascontiguousarray(crop.transpose(1, 0, 2) if self.transposed else crop)
