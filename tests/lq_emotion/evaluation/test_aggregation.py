"""Classes of clips from the scores of frames, by hand."""

import numpy as np
import pytest

from lq_emotion.evaluation.aggregation import AGGREGATIONS, class_by_mean, class_by_mode
from tests.refusals import refused


@pytest.mark.parametrize(
    ("scores", "mean", "mode"),
    [
        pytest.param(
            [[0.9, 0.1, 0.0], [0.3, 0.4, 0.3], [0.3, 0.4, 0.3]], 0, 1, id="one sure frame decides the mean only"
        ),
        pytest.param([[0.5, 0.1, 0.4], [0.0, 0.3, 0.7]], 2, 2, id="of equally frequent classes the highest sum"),
        pytest.param([[0.0, 0.3, 0.7], [0.5, 0.1, 0.4]], 2, 2, id="in any order"),
        pytest.param(
            [[0.4, 0.39, 0.21], [0.2, 0.39, 0.41]], 1, 2, id="the sum of a less frequent class does not count"
        ),
        pytest.param([[0.5, 0.5], [0.5, 0.5]], 0, 0, id="of equal scores the first class"),
    ],
)
def test_the_class_of_a_clip(scores, mean, mode):
    assert (class_by_mean(scores), class_by_mode(scores)) == (mean, mode)


@pytest.mark.parametrize("aggregate", AGGREGATIONS.values(), ids=AGGREGATIONS)
def test_scores_without_a_class_are_refused(aggregate):
    with refused("shape-mismatch", field="scores"):
        aggregate(np.empty((0, 7)))
    with refused("shape-mismatch", field="scores"):
        aggregate([0.2, 0.8])
    with refused("not-finite", field="scores"):
        aggregate([[0.2, 0.8], [np.nan, 0.1]])
