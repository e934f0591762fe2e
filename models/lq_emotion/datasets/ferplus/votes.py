"""The class of an image from the votes on it.

The four rules are readings of "majority vote". One is that of the authors of FER+ (Barsoum et al. 2016,
arXiv:1608.01041; microsoft/FERPlus, src/ferplus.py). Contempt, the last class, is left out where seven classes are
requested: images of it are dropped.

The program as it was published compares the number of a class with that of the emotions less two (8 - 2) where that of
the columns is meant (10 - 2), and so also drops fear and contempt; that is not repeated here.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError

Integers = npt.NDArray[np.int64]
EMOTIONS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
COLUMNS = (*EMOTIONS, "unknown", "NF")
"""The choices of a tagger; NF: not a face."""
DROPPED = -1


class Rule(StrEnum):
    """Which class an image has.

    Attributes
    ----------
    MORE_THAN_5 : that with more than 5 votes. It reproduces the second paper's accuracies.
    MICROSOFT : single votes are set to 0; that with more than half of the remaining votes.
    AT_LEAST_5 : that with the most votes, if it has at least 5. Of two with 5 each, the first in the table.
    PLURALITY : that with more votes than every other.
    """

    MORE_THAN_5 = "more-than-5"
    MICROSOFT = "microsoft"
    AT_LEAST_5 = "at-least-5"
    PLURALITY = "plurality"


def class_labels(votes: npt.ArrayLike, rule: Rule, *, classes: int = 7) -> Integers:
    """Return the class of each image, (N,) numbers of `EMOTIONS` or `DROPPED`, from its votes, (N, 10).

    There are 8 classes, or 7 without contempt.
    """
    counts = _require(votes, classes)
    if rule == Rule.MICROSOFT:
        counts = np.where(counts > 1, counts, 0)
    largest, winner = counts.max(axis=1), counts.argmax(axis=1)
    wins = {
        Rule.MORE_THAN_5: largest > 5,
        Rule.MICROSOFT: 2 * largest > counts.sum(axis=1),
        Rule.AT_LEAST_5: largest >= 5,
        Rule.PLURALITY: (counts == largest[:, None]).sum(axis=1) == 1,
    }[rule]
    return np.where(wins & (winner < classes), winner, DROPPED)


def _require(votes: npt.ArrayLike, classes: int) -> Integers:
    counts = np.asarray(votes, np.int64)
    if counts.ndim != 2 or counts.shape[1] != len(COLUMNS):
        problem = f"votes are {counts.shape}, expected (N, {len(COLUMNS)})"
        raise DataError(problem, code="shape-mismatch", field="votes")
    if classes not in (7, 8):
        hint = "8, or 7 without contempt"
        raise DataError("no such number of classes", code="out-of-range", field="classes", value=classes, hint=hint)
    return counts
