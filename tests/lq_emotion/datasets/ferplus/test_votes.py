"""Classes and distributions from votes; the patterns are from the published table, the values worked out by hand."""

import numpy as np
import pytest

from lq_emotion.datasets.ferplus.votes import DROPPED, Mode, Rule, class_labels, distributions, epoch_targets
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


def test_single_votes_do_not_count_for_distributions():
    assert distributions([CLEAR], Mode.CROSSENTROPY)[0].tolist() == [1, 0, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (Mode.MAJORITY, [1, 0, 0, 0, 0, 0, 0, 0]),
        (Mode.CROSSENTROPY, [5 / 8, 0, 0, 3 / 8, 0, 0, 0, 0]),
        (Mode.PROBABILITY, [5 / 8, 0, 0, 3 / 8, 0, 0, 0, 0]),
        (Mode.MULTI_TARGET, [5 / 8, 0, 0, 3 / 8, 0, 0, 0, 0]),
    ],
)
def test_a_image_of_two_emotions_in_each_mode(mode, expected):
    np.testing.assert_allclose(distributions([HALF], mode)[0], expected)


@pytest.mark.parametrize(
    ("votes", "mode", "expected"),
    [
        (FOUR, Mode.CROSSENTROPY, [4 / 7, 0, 0, 0, 3 / 7, 0, 0, 0]),  # 7 of 9 are 75 %
        (FOUR, Mode.MULTI_TARGET, [4 / 7, 0, 0, 0, 3 / 7, 0, 0, 0]),  # 2 of 9 are less than 30 %
        (FOUR, Mode.MAJORITY, None),  # 4 of 9 are not more than half
        (UNKNOWN, Mode.CROSSENTROPY, None),
        ((3, 2, 0, 0, 0, 0, 0, 0, 3, 2), Mode.CROSSENTROPY, None),  # unknown ends the list at 3 of 10
        ((5, 0, 0, 0, 0, 0, 0, 0, 3, 2), Mode.CROSSENTROPY, None),  # half is not enough
        ((6, 0, 0, 0, 0, 0, 0, 0, 2, 2), Mode.CROSSENTROPY, [1, 0, 0, 0, 0, 0, 0, 0]),
        ((2, 2, 2, 2, 0, 0, 0, 0, 2, 0), Mode.CROSSENTROPY, None),  # more than three classes
        ((1, 1, 1, 1, 1, 1, 1, 1, 1, 1), Mode.MULTI_TARGET, None),  # nothing remains
        ((4, 0, 0, 0, 0, 0, 0, 0, 3, 3), Mode.MULTI_TARGET, [1, 0, 0, 0, 0, 0, 0, 0]),
    ],
)
def test_when_the_list_of_emotions_ends_and_when_the_image_is_dropped(votes, mode, expected):
    row = distributions([votes], mode)[0]
    if expected is None:
        assert np.isnan(row).all()
    else:
        np.testing.assert_allclose(row, expected)


def test_seven_classes_drop_contempt_and_share_out_its_votes():
    mixed = (0, 0, 0, 0, 6, 0, 0, 4, 0, 0)
    np.testing.assert_allclose(distributions([mixed], Mode.CROSSENTROPY, classes=8)[0], [0, 0, 0, 0, 0.6, 0, 0, 0.4])
    np.testing.assert_allclose(distributions([mixed], Mode.CROSSENTROPY, classes=7)[0], [0, 0, 0, 0, 1, 0, 0])
    assert np.isnan(distributions([CONTEMPT], Mode.CROSSENTROPY, classes=7)).all()


def test_targets_of_an_epoch():
    rows = np.repeat(distributions([HALF], Mode.PROBABILITY), 4000, axis=0)
    drawn = epoch_targets(rows, Mode.PROBABILITY, np.random.default_rng(0))
    assert set(drawn.sum(axis=1)) == {1}
    np.testing.assert_allclose(drawn.mean(axis=0), rows[0], atol=0.02)
    assert epoch_targets(rows[:1], Mode.MULTI_TARGET, np.random.default_rng(0))[0].tolist() == [
        1,
        *[0.001] * 2,
        1,
        *[0.001] * 4,
    ]
    assert epoch_targets(rows, Mode.CROSSENTROPY, np.random.default_rng(0)) is rows


def test_refusals():
    with refused("shape-mismatch", field="votes"):
        class_labels([(1, 2, 3)], Rule.PLURALITY)
    with refused("out-of-range", field="classes", value=6):
        distributions(VOTES, Mode.MAJORITY, classes=6)
