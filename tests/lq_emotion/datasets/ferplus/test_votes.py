"""Classes from votes; the patterns are from the published table, the values worked out by hand."""

import pytest

from lq_emotion.datasets.ferplus.votes import DROPPED, Rule, class_labels
from tests.refusals import refused

# neutral, happiness, surprise, sadness, anger, disgust, fear, contempt, unknown, not a face
CLEAR = (9, 0, 0, 1, 0, 0, 0, 0, 0, 0)
HALF = (5, 0, 0, 3, 1, 0, 0, 0, 1, 0)
TIED = (0, 5, 5, 0, 0, 0, 0, 0, 0, 0)
FOUR = (4, 0, 0, 1, 3, 2, 0, 0, 0, 0)
UNKNOWN = (2, 1, 0, 0, 0, 0, 0, 0, 7, 0)
NO_FACE = (0, 0, 0, 0, 0, 0, 0, 0, 0, 10)
CONTEMPT = (0, 0, 0, 0, 2, 1, 0, 7, 0, 0)
VOTES = [CLEAR, HALF, TIED, FOUR, UNKNOWN, NO_FACE, CONTEMPT]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule.MORE_THAN_5, [0, -1, -1, -1, -1, -1, 7]),
        (Rule.MICROSOFT, [0, 0, -1, -1, -1, -1, 7]),  # HALF: 5 of the 8 that are not single
        (Rule.AT_LEAST_5, [0, 0, 1, -1, -1, -1, 7]),
        (Rule.PLURALITY, [0, 0, -1, 0, -1, -1, 7]),
    ],
)
def test_each_rule_reads_majority_in_its_own_way(rule, expected):
    assert class_labels(VOTES, rule, classes=8).tolist() == expected
    assert class_labels(VOTES, rule, classes=7).tolist() == [*expected[:6], DROPPED]


def test_refusals():
    with refused("shape-mismatch", field="votes"):
        class_labels([(1, 2, 3)], Rule.PLURALITY)
    with refused("out-of-range", field="classes", value=6):
        class_labels(VOTES, Rule.PLURALITY, classes=6)
