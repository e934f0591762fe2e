"""A calibration: from the conditions of a face to an interval for the net's estimate.

It is made by `quality.conformal` and kept beside the weights, NAME.calibration.json. Applying it takes NumPy alone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy.typing as npt

from lq_emotion.quality.measures import Condition
from lq_emotion.quality.trust import Trust

PathLike = str | os.PathLike[str]
SUFFIX = ".calibration.json"


class Calibration:
    """What errors a net makes under which conditions.

    Attributes
    ----------
    outputs : names of what `Trust.low` and `Trust.high` are about: the net's dimensions (``valence``), or ``agreement``
        for a classifier.
    level : part of the estimates whose interval holds the label, 0.9.
    """

    outputs: tuple[str, ...]
    level: float

    @classmethod
    def load(cls, path: PathLike) -> Self:
        """Read a calibration.

        Raises
        ------
        FileError
            The file is missing or damaged.
        """
        raise NotImplementedError

    @classmethod
    def beside(cls, weights: PathLike) -> Self | None:
        """Return the calibration beside a caffemodel; None without one.

        Raises
        ------
        FileError
            The file is damaged, or was made with other weights.
        """
        path = sidecar(weights)
        return cls.load(path) if path.is_file() else None

    def judge(self, estimates: npt.ArrayLike, conditions: Sequence[Condition]) -> list[Trust]:
        """Return how far the estimates for each face can be trusted.

        Parameters
        ----------
        estimates : (n, k), the outputs of the net: dimensions, or the probabilities of classes.
        conditions : of the n faces.

        Raises
        ------
        DataError
            The shapes do not fit each other or the calibration.
        """
        raise NotImplementedError


def sidecar(weights: PathLike) -> Path:
    """Return where the calibration of a caffemodel lies."""
    return Path(weights).with_suffix(SUFFIX)
