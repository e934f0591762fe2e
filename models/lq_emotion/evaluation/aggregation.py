"""The class of a clip from the scores of its frames: by the mean of the scores, or the most frequent class.

The two ways of Maclean, "Facial emotion recognition for cloud robotics", that need no further training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError


def class_by_mean(scores: npt.ArrayLike) -> int:
    """Return the class with the largest mean of the frames' scores, (T, k); of equal ones the first."""
    return int(_checked(scores).mean(axis=0).argmax())


def class_by_mode(scores: npt.ArrayLike) -> int:
    """Return the class that most frames have; of equally frequent ones the one with the largest sum of scores.

    A frame's class is that of its largest score, of equal ones the first.
    """
    values = _checked(scores)
    votes = np.bincount(values.argmax(axis=1), minlength=values.shape[1])
    sums = np.where(votes == votes.max(), values.sum(axis=0), -np.inf)
    return int(sums.argmax())


AGGREGATIONS: Mapping[str, Callable[[npt.ArrayLike], int]] = {"mean": class_by_mean, "mode": class_by_mode}
"""By the names that tables give them."""


def _checked(scores: npt.ArrayLike) -> npt.NDArray[np.float64]:
    values = np.asarray(scores, np.float64)
    if values.ndim != 2 or not values.size:
        problem = f"have shape {values.shape}, expected (frames, classes), at least one of each"
        raise DataError(problem, code="shape-mismatch", field="scores")
    if not np.isfinite(values).all():
        frame = int(np.argwhere(~np.isfinite(values))[0][0])
        raise DataError(f"are not finite in frame {frame + 1}", code="not-finite", field="scores")
    return values
