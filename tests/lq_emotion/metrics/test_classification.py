"""Scores of classes, by hand."""

import numpy as np
import pytest

from lq_emotion.metrics.classification import ClassScores, class_scores
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
    with refused("out-of-range", field="true"):
        class_scores([0], [np.nan], 2)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_scores_are_those_of_scikit_learn(seed):
    sklearn = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(seed)
    true = random.integers(0, 7, 200)
    predicted = np.where(random.random(200) < 0.6, true, random.integers(0, 6, 200))  # class 6 is rarely predicted
    scores, labels = class_scores(predicted, true, 8), list(range(8))  # class 7 neither occurs nor is predicted
    precision, recall, f1, _ = sklearn.precision_recall_fscore_support(
        true, predicted, labels=labels, zero_division=np.nan
    )
    assert scores.confusion.tolist() == sklearn.confusion_matrix(true, predicted, labels=labels).tolist()
    assert scores.accuracy == sklearn.accuracy_score(true, predicted)
    assert scores.mean_recall == pytest.approx(sklearn.balanced_accuracy_score(true, predicted), rel=1e-15)
    np.testing.assert_allclose(scores.precision, precision, rtol=1e-15)
    np.testing.assert_allclose(scores.recall, recall, rtol=1e-15)
    np.testing.assert_allclose(scores.f1, f1, rtol=1e-15)


def test_the_interval_of_an_accuracy_is_wilsons():
    """That of 81 of 263 is an example of Newcombe (1998)."""
    interval = ClassScores(np.array([[81, 182], [0, 0]])).interval
    assert interval == pytest.approx((0.2553, 0.3662), abs=5e-5)
