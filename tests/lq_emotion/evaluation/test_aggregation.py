"""Classes of clips from the scores of frames, by hand."""

import numpy as np
import pytest

from lq_emotion.evaluation.aggregation import AGGREGATIONS, class_by_mean, class_by_mode
from tests.refusals import refused

ONE_SURE_FRAME = [[0.9, 0.1, 0.0], [0.3, 0.4, 0.3], [0.3, 0.4, 0.3]]


def test_one_sure_frame_decides_the_mean_but_not_the_mode():
    assert class_by_mean(ONE_SURE_FRAME) == 0
    assert class_by_mode(ONE_SURE_FRAME) == 1


def test_equally_frequent_classes_are_told_apart_by_their_summed_scores():
    scores = [[0.5, 0.1, 0.4], [0.0, 0.3, 0.7]]
    assert class_by_mode(scores) == 2
    assert class_by_mode(scores[::-1]) == 2


def test_the_summed_score_of_a_less_frequent_class_does_not_count():
    scores = [[0.4, 0.39, 0.21], [0.2, 0.39, 0.41]]
    assert class_by_mean(scores) == 1
    assert class_by_mode(scores) == 2


def test_of_equal_scores_the_first_class_counts():
    assert [aggregate([[0.5, 0.5], [0.5, 0.5]]) for aggregate in AGGREGATIONS.values()] == [0, 0]


@pytest.mark.parametrize("aggregate", AGGREGATIONS.values(), ids=AGGREGATIONS)
def test_scores_without_a_class_are_refused(aggregate):
    with refused("shape-mismatch", field="scores"):
        aggregate(np.empty((0, 7)))
    with refused("shape-mismatch", field="scores"):
        aggregate([0.2, 0.8])
    with refused("not-finite", field="scores"):
        aggregate([[0.2, 0.8], [np.nan, 0.1]])
