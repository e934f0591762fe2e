"""Scores of classes, by hand."""

import numpy as np
import pytest

from lq_emotion.metrics.classification import class_scores
from tests.refusals import refused


def test_scores_of_three_classes():
    scores = class_scores([0, 0, 1, 1, 1, 0], [0, 0, 0, 1, 1, 2], 3)
    assert scores.confusion.tolist() == [[2, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert scores.accuracy == pytest.approx(4 / 6)
    assert scores.recall.tolist() == pytest.approx([2 / 3, 1, 0])
    assert scores.mean_recall == pytest.approx(5 / 9)
    assert scores.precision[:2].tolist() == pytest.approx([2 / 3, 2 / 3])
    assert np.isnan(scores.precision[2])
    assert scores.f1.tolist() == pytest.approx([2 / 3, 0.8, 0])


def test_a_class_without_samples_does_not_count():
    scores = class_scores([0, 1], [0, 0], 2)
    assert np.isnan(scores.recall[1])
    assert scores.mean_recall == 0.5


def test_what_cannot_be_compared_is_refused():
    with refused("wrong-count", field="predicted"):
        class_scores([0], [0, 1], 2)
    with refused("out-of-range", field="true", value=2):
        class_scores([0], [2], 2)
