"""A net applied to faces, with what its calibration says about each answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lq_emotion.faces.face import Face, Image
from lq_emotion.nets.known.loading import LoadedModel
from lq_emotion.quality import Calibration, Condition, Trust


@dataclass(frozen=True, eq=False)
class Estimate:
    """What a net says about a face.

    Attributes
    ----------
    values : (k,) float32, of the dimensions, or the probabilities of the classes.
    trust : None for a net without a calibration.
    """

    values: npt.NDArray[np.float32]
    trust: Trust | None


class Estimator:
    """A net with its crop, preprocessing and calibration.

    Parameters
    ----------
    model : the net.
    calibration : by default the one beside its weights, if there is one.

    Raises
    ------
    FileError
        The calibration is damaged, or was made with other weights.
    """

    def __init__(self, model: LoadedModel, calibration: Calibration | None = None) -> None:
        self.model = model
        self.calibration = calibration or Calibration.beside(model.weights)

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.model.name

    def __call__(self, crops: Sequence[Image], conditions: Sequence[Condition]) -> list[Estimate]:
        """Return an estimate for each face.

        Parameters
        ----------
        crops : as `cut` returns them.
        conditions : the faces were seen under.
        """
        values = self.model.estimates(crops)
        if self.calibration is None:
            return [Estimate(row, None) for row in values]
        trusts = self.calibration.judge(values, conditions)
        return [Estimate(row, trust) for row, trust in zip(values, trusts, strict=True)]

    def cut(self, image: Image, face: Face) -> Image:
        """Cut a face out of a frame for the net."""
        return self.model.crop.cut(image, face)
