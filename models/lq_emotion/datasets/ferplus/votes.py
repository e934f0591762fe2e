"""The class of an image from the votes on it, or the target that a net is trained towards.

The four modes are those of the paper on FER+ (Barsoum et al. 2016, arXiv:1608.01041) as its authors' program has them
(microsoft/FERPlus, src/ferplus.py). The four rules are readings of "majority vote". Contempt, the last class, is left
out where seven classes are requested: images of it are dropped.

The program as it was published compares the number of a class with that of the emotions less two (8 - 2) where that of
the columns is meant (10 - 2), and so also drops fear and contempt; that is not repeated here.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError

Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
EMOTIONS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
COLUMNS = (*EMOTIONS, "unknown", "NF")
"""The choices of a tagger; NF: not a face."""
DROPPED = -1
_UNKNOWN = len(EMOTIONS)  # from this column on, an image has no emotion
_FLOOR = 0.001  # of the targets of `Mode.MULTI_TARGET`


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


class Mode(StrEnum):
    """What a net is trained towards.

    Attributes
    ----------
    MAJORITY : the class of `Rule.MICROSOFT`.
    PROBABILITY : a class drawn from the distribution of the votes, another in every epoch.
    CROSSENTROPY : the distribution of the votes.
    MULTI_TARGET : all classes with at least 30 % of the votes alike; the loss is -log of the largest product of target
        and estimated probability.
    """

    MAJORITY = "majority"
    PROBABILITY = "probability"
    CROSSENTROPY = "crossentropy"
    MULTI_TARGET = "multi_target"


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


def distributions(votes: npt.ArrayLike, mode: Mode, *, classes: int = 8) -> Doubles:
    """Return the distribution over the classes, (N, classes), that a mode makes of the votes on each image, (N, 10).

    Each row adds up to 1, or is NaN if the image is dropped. Validation and test are by majority in every mode. There
    are 8 classes, or 7 without contempt.
    """
    counts = _require(votes, classes)
    patterns, pattern_of = np.unique(np.where(counts > 1, counts, 0), axis=0, return_inverse=True)
    counted = np.array([_RULES[mode](pattern) for pattern in patterns], np.float64).reshape(-1, len(COLUMNS))
    enough = 2 * counted.sum(axis=1) > patterns.sum(axis=1)
    counted[~(enough & (counted.argmax(axis=1) < classes))] = np.nan
    counted = counted[:, :classes]
    return np.asarray((counted / counted.sum(axis=1, keepdims=True))[pattern_of.reshape(-1)], np.float64)


def epoch_targets(distribution: Doubles, mode: Mode, rng: np.random.Generator) -> Doubles:
    """Return the targets of one epoch, (N, classes), from `distributions` without NaN.

    They are distributions; single classes, drawn by `rng` for `Mode.PROBABILITY`; or, for `Mode.MULTI_TARGET`, 1 or
    0.001 for each class.
    """
    if mode == Mode.MULTI_TARGET:
        return np.where(distribution > 0, 1.0, _FLOOR)
    if mode != Mode.PROBABILITY:
        return distribution
    bounds = np.cumsum(distribution, axis=1)
    bounds /= bounds[:, -1:]  # rounding must not leave a gap below 1
    drawn = (rng.random((len(distribution), 1)) >= bounds).sum(axis=1)
    return np.asarray(np.eye(distribution.shape[1])[drawn], np.float64)


def _require(votes: npt.ArrayLike, classes: int) -> Integers:
    counts = np.asarray(votes, np.int64)
    if counts.ndim != 2 or counts.shape[1] != len(COLUMNS):
        problem = f"votes are {counts.shape}, expected (N, {len(COLUMNS)})"
        raise DataError(problem, code="shape-mismatch", field="votes")
    if classes not in (7, 8):
        hint = "8, or 7 without contempt"
        raise DataError("no such number of classes", code="out-of-range", field="classes", value=classes, hint=hint)
    return counts


def _majority(counts: Integers) -> Integers:
    counted = np.zeros_like(counts)
    counted[counts.argmax()] = counts.max()
    return counted


def _most(counts: Integers) -> Integers:
    """Keep the largest until they have 75 % of the votes; nothing if that takes more than 3 classes."""
    counted, remaining, taken = np.zeros_like(counts), counts.copy(), 0
    while 4 * counted.sum() < 3 * counts.sum() and taken < 3:
        largest = remaining.max()
        tied = np.flatnonzero(remaining == largest)
        emotions = tied[tied < _UNKNOWN]
        counted[emotions], remaining[emotions] = largest, 0
        taken += len(emotions)
        if len(emotions) < len(tied):  # unknown or not a face has come up: it ends the list, and counts if it is alone
            if not taken:
                counted[tied[0]] = largest
            break
    return counted if taken <= 3 else np.zeros_like(counts)


def _many(counts: Integers) -> Integers:
    return np.where(10 * counts >= 3 * counts.sum(), counts, 0)


_RULES: dict[Mode, Callable[[Integers], Integers]] = {
    Mode.MAJORITY: _majority,
    Mode.PROBABILITY: _most,
    Mode.CROSSENTROPY: _most,
    Mode.MULTI_TARGET: _many,
}
