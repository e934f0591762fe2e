"""The valence of the basic emotions, and the valence that follows from probabilities of emotions.

The coordinates are the mean ratings of pleasure, from -1 to 1, of the words happy, surprised, angry, disgusted, sad
and fearful: Russell and Mehrabian, "Evidence for a three-factor theory of emotions", Journal of Research in Personality
11 (1977), 273-294. They were taken from works that cite the table, not from the table itself; the works agree. Neutral
is the middle of the scale by definition.

They are ratings of words by students, not of faces; and the mean over probabilities takes a net's uncertainty for a
mild emotion. What is derived is therefore always called `valence_derived`, never `valence`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from lq_emotion.nets.known.outputs import Labels

NAME = "valence_derived"
SOURCE = "Russell and Mehrabian 1977, mean pleasure of words"

VALENCE: Mapping[str, float] = MappingProxyType(
    {"angry": -0.51, "disgust": -0.60, "fear": -0.64, "happy": 0.81, "sad": -0.63, "surprise": 0.40, "neutral": 0.0}
)
"""Valence, -1 to 1, of each basic emotion, by the labels of FER-2013."""

_SYNONYMS = {
    "anger": "angry",
    "disgusted": "disgust",
    "fearful": "fear",
    "afraid": "fear",
    "happiness": "happy",
    "joy": "happy",
    "sadness": "sad",
    "surprised": "surprise",
}


def coordinates(labels: Labels) -> npt.NDArray[np.float64] | None:
    """Return the valence of each class, (k,) from -0.64 to 0.81; None where a class is no basic emotion.

    The derived valence is their mean under the probabilities of the classes.
    """
    names = [_SYNONYMS.get(name.lower(), name.lower()) for name in labels.names]
    if not all(name in VALENCE for name in names):
        return None
    return np.array([VALENCE[name] for name in names])
