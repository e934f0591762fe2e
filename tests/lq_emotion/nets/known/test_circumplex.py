"""Valence derived from probabilities of emotions."""

import pytest

from lq_emotion.nets.known.model import find_model
from lq_emotion.nets.known.outputs import Labels, coordinates


def test_the_labels_of_mini_xception_have_coordinates():
    assert coordinates(find_model("mini-xception").outputs).tolist() == [-0.51, -0.60, -0.64, 0.81, -0.63, 0.40, 0.0]


def test_words_for_the_same_emotion_have_the_same_coordinates():
    assert coordinates(Labels(("Anger", "Happiness", "surprised"))).tolist() == [-0.51, 0.81, 0.40]


@pytest.mark.parametrize("labels", [("happy", "contempt"), ("tabby cat",)])
def test_other_classes_have_no_valence(labels):
    assert coordinates(Labels(labels)) is None
