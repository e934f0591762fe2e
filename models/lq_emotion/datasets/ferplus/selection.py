"""The images of FER+ for training, validation and test, with their classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from caffe_compat.errors import DataError
from lq_emotion.common.records import Record
from lq_emotion.datasets.ferplus.reader import USAGES, FerPlus
from lq_emotion.datasets.ferplus.votes import DROPPED, Integers, Rule, class_labels

Partition = Literal["train", "dev", "test"]
SPLITS = ("official", "random")
_OFFICIAL = (28709, 3589, 3589)  # images of train, dev and test, as published


@dataclass(frozen=True)
class FerSettings(Record):
    """How FER+ is labelled and split.

    Attributes
    ----------
    rule : rule that chooses the class of an image.
    classes : 8, or 7 without contempt.
    split : ``official``, or ``random``: as many images in each partition, drawn from all.
    seed : seed of the random split. An image is in the same partition under every rule.
    """

    rule: Rule = Rule.MORE_THAN_5
    classes: int = 7
    split: str = "official"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            hint = " or ".join(SPLITS)
            raise DataError("unknown split", code="name-unknown", field="split", value=self.split, hint=hint)


class Labelled(NamedTuple):
    """Images with classes: `indices` (K,) into the data set, increasing, and `labels` (K,), numbers of classes."""

    indices: Integers
    labels: Integers


def labelled(data: FerPlus, partition: Partition, settings: FerSettings | None = None) -> Labelled:
    """Return the images of a partition that have a class."""
    settings = settings or FerSettings()
    labels = class_labels(data.votes, settings.rule, classes=settings.classes)
    indices = np.flatnonzero(_members(data, partition, settings) & (labels != DROPPED))
    return Labelled(indices, labels[indices])


def _members(data: FerPlus, partition: Partition, settings: FerSettings) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    if settings.split == "official":
        return np.array([name == partition for name in data.partitions])
    names, name_of = np.unique(data.names, return_inverse=True)  # a name that occurs twice is the same image
    bounds = np.round(np.cumsum(_OFFICIAL) / sum(_OFFICIAL) * len(names)).astype(int)
    places = np.random.default_rng(settings.seed).permutation(len(names))[name_of]
    return np.asarray(np.searchsorted(bounds, places, "right") == list(USAGES.values()).index(partition))
