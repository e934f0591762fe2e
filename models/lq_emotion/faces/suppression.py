"""Non-maximum suppression: of boxes that overlap, the one with the highest score stays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


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
