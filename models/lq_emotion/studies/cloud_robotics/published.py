"""The numbers of "Facial Expression Recognition for Cloud Robotics" (Maclean 2021).

Table 1 is of FER+'s test images; its columns neutral and sadness are probably exchanged: only then do recalls weighted
by the classes' frequencies give the accuracies next to them (`implied_accuracy`). Both readings are offered.

The tables (a) and (c) are of RAVDESS clips; (b), of the mode, is not in the text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

CLASSES = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
SIZES = ((1280, 720), (640, 360), (256, 144))
"""Width and height of the videos. Section 3.3 has 480 x 360 in place of 640 x 360, which the tables have."""
RATES = (30, 15, 5)
"""Frames per second."""


class Reading(StrEnum):
    """How the columns of Table 1 are read: as printed, or with neutral and sadness exchanged."""

    PRINTED = "printed"
    EXCHANGED = "exchanged"


class Aggregation(StrEnum):
    """How the estimates of a clip's frames become one."""

    MEAN = "mean"
    MODE = "mode"
    LSTM = "LSTM"


@dataclass(frozen=True)
class ImageScores:
    """A row of Table 1.

    Attributes
    ----------
    base : what the net had learnt before.
    recall, f1 : of each of `CLASSES`.
    accuracy : accuracy of all test images.
    """

    base: str
    recall: tuple[float, ...]
    f1: tuple[float, ...]
    accuracy: float


_TABLE_1 = (
    ImageScores(
        "VGG Face",
        recall=(0.86, 0.33, 0.49, 0.95, 0.65, 0.85, 0.91),
        f1=(0.85, 0.45, 0.58, 0.94, 0.71, 0.86, 0.88),
        accuracy=0.86,
    ),
    ImageScores(
        "ImageNet",
        recall=(0.63, 0.0, 0.21, 0.89, 0.44, 0.81, 0.90),
        f1=(0.67, 0.0, 0.34, 0.88, 0.53, 0.80, 0.82),
        accuracy=0.78,
    ),
)
DISGUST_AS_ANGER = 0.47
"""The part of disgust that the net from VGG Face takes for anger (section 4.1), all that is said of Figure 2."""
_CLIPS = {  # accuracy by size and rate, in the order of SIZES and RATES
    Aggregation.MEAN: ((0.26, 0.31, 0.30), (0.33, 0.30, 0.28), (0.33, 0.29, 0.31)),
    Aggregation.LSTM: ((0.67, 0.81, 0.77), (0.77, 0.77, 0.75), (0.80, 0.81, 0.76)),
}


def table_1(reading: Reading = Reading.PRINTED) -> tuple[ImageScores, ...]:
    """Return the rows of Table 1."""
    if reading is Reading.PRINTED:
        return _TABLE_1
    return tuple(replace(row, recall=_exchanged(row.recall), f1=_exchanged(row.f1)) for row in _TABLE_1)


def _exchanged(values: tuple[float, ...]) -> tuple[float, ...]:
    by_class = dict(zip(CLASSES, values, strict=True))
    by_class["neutral"], by_class["sadness"] = by_class["sadness"], by_class["neutral"]
    return tuple(by_class.values())


def implied_accuracy(row: ImageScores, counts: Mapping[str, int]) -> float:
    """Return the accuracy that the recalls of a row of Table 1 amount to, from the test images of each class."""
    total = sum(counts[name] for name in CLASSES)
    return sum(counts[name] * recall for name, recall in zip(CLASSES, row.recall, strict=True)) / total


def clip_accuracy(aggregation: Aggregation, size: tuple[int, int], rate: int) -> float | None:
    """Return the published accuracy on RAVDESS at a size and a frame rate; None where the text has none."""
    if aggregation not in _CLIPS or size not in SIZES or rate not in RATES:
        return None
    return _CLIPS[aggregation][SIZES.index(size)][RATES.index(rate)]
