"""Intervals, tests and spreads: against the joined frames, enumeration by hand, and simulated recordings."""

import itertools
import math
from dataclasses import astuple

import numpy as np
import pytest

from lq_emotion.metrics.regression import CONVENTIONS, ccc, score
from lq_emotion.metrics.uncertainty import Moments, holm, joined_score, paired_test, score_intervals, spread
from tests.refusals import refused


def recording(rng, frames, *, noise=0.3, offset=0.0):
    gold = 0.2 * rng.standard_normal() + 0.1 * np.cumsum(rng.standard_normal(frames)) / np.sqrt(frames)
    return gold + offset + noise * (0.1 * rng.standard_normal() + 0.1 * rng.standard_normal(frames)), gold


def recordings(rng, count=9, **settings):
    return [recording(rng, int(rng.integers(40, 90)), **settings) for _ in range(count)]


def moments(pairs):
    return [Moments.of(*pair) for pair in pairs]


def joined(pairs):
    return [np.concatenate(traces) for traces in zip(*pairs, strict=True)]


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e4])
def test_moments_of_any_multiset_give_the_scores_of_the_joined_frames(convention, scale):
    rng = np.random.default_rng(1)
    pairs = [(scale * a + 7 * scale, scale * b + 7 * scale) for a, b in recordings(rng)]
    of_each = moments(pairs)
    for _ in range(20):
        drawn = rng.integers(0, len(pairs), len(pairs))
        actual = joined_score([of_each[i] for i in drawn], convention)
        expected = score(*joined([pairs[i] for i in drawn]), convention)
        assert actual.frames == expected.frames
        assert astuple(actual) == pytest.approx(astuple(expected), rel=1e-12)


def test_moments_of_predictions_that_equal_the_labels_have_no_error():
    gold = np.random.default_rng(2).standard_normal(50)
    actual = joined_score([Moments.of(gold[:20], gold[:20]), Moments.of(gold[20:], gold[20:])], "population")
    assert actual.rmse == 0
    assert (actual.cc, actual.ccc) == pytest.approx((1, 1), abs=1e-14)


def test_moments_by_hand():
    assert Moments.of([1, 3, np.nan, 9], [2, 6, 5, np.nan]) == Moments(2, 2.0, 4.0, 2.0, 8.0, 4.0, 10.0)
    assert Moments.from_json(Moments(2, 2.0, 4.0, 2.0, 8.0, 4.0, 10.0).to_json()).products == 4.0


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("value", [0.1, 1 / 3])
def test_constant_predictions_have_no_cc_and_zero_ccc(convention, value):
    rng = np.random.default_rng(3)
    constant = [Moments.of(np.full(b.size, value), b) for _, b in recordings(rng)]
    actual = joined_score(constant, convention)
    assert actual.cc is None
    assert actual.ccc == 0
    intervals = score_intervals([constant], convention=convention)
    assert intervals["ccc"] == (0, 0)
    assert all(map(math.isnan, intervals["cc"]))
    assert intervals["rmse"].low < actual.rmse < intervals["rmse"].high


def test_an_interval_is_that_of_the_jackknife_on_the_scale_of_fishers_z():
    pairs = [recordings(np.random.default_rng(4), 4, noise=noise) for noise in (0.5, 2.0)]
    pairs[1] = [(a, gold) for (a, _), (_, gold) in zip(pairs[1], pairs[0], strict=True)]

    def z(names):
        return np.arctanh(np.mean([ccc(*joined([seed[i] for i in names])) for seed in pairs]))

    without = [z(names) for names in itertools.combinations(range(4), 3)]
    half = 2.353363 * math.sqrt(3 / 4 * sum((value - np.mean(without)) ** 2 for value in without))  # t of 3 degrees
    expected = np.tanh([z(range(4)) - half, z(range(4)) + half])
    assert score_intervals([moments(seed) for seed in pairs], level=0.9)["ccc"] == pytest.approx(expected, abs=1e-6)


def test_intervals_over_nine_recordings_hold_as_often_as_they_say():
    rng = np.random.default_rng(7)
    unlimited = recordings(rng, 4000, noise=2.0)
    truth = joined_score(moments(unlimited))
    held = np.zeros(3)
    for _ in range(200):
        intervals = score_intervals([moments(recordings(rng, 9, noise=2.0))])
        held += [intervals[name].low <= getattr(truth, name) <= intervals[name].high for name in ("rmse", "cc", "ccc")]
    assert all(0.90 <= part <= 0.99 for part in held / 200)  # 0.95 and three standard errors


def test_an_error_of_zero_has_no_interval():
    _, gold = recordings(np.random.default_rng(6), 1)[0]
    intervals = score_intervals([[Moments.of(gold, gold), Moments.of(gold[::-1], gold[::-1])]])
    assert all(map(math.isnan, intervals["rmse"]))


def test_p_and_difference_by_enumeration():
    rng = np.random.default_rng(8)
    golds = [gold for _, gold in recordings(rng, 5)]
    first, second = (
        [[gold + noise * rng.standard_normal(gold.size) for gold in golds] for _ in range(2)] for noise in (0.1, 0.2)
    )

    def difference(exchanged):
        a, b = (
            [
                ccc(np.concatenate([(y if swap else x)[i] for i, swap in enumerate(exchanged)]), np.concatenate(golds))
                for x, y in pair
            ]
            for pair in (zip(first, second, strict=True), zip(second, first, strict=True))
        )
        return np.mean(a) - np.mean(b)

    every = [difference(exchanged) for exchanged in itertools.product((False, True), repeat=5)]
    tables = [[moments(zip(seed, golds, strict=True)) for seed in method] for method in (first, second)]
    actual = paired_test(*tables, rng=rng)
    assert actual.difference == pytest.approx(every[0], abs=1e-12)
    assert actual.p == np.mean(np.abs(every) >= abs(every[0]) - 1e-12)
    assert (actual.arrangements, actual.exact) == (32, True)
    assert actual.interval.low < actual.difference < actual.interval.high


def test_more_recordings_than_can_be_enumerated_are_exchanged_at_random():
    rng = np.random.default_rng(9)
    pairs = recordings(rng, 20)
    worse = [(a + rng.standard_normal(a.size), b) for a, b in pairs]
    actual = paired_test([moments(pairs)], [moments(worse)], rng=rng, n_resamples=999)
    assert (actual.arrangements, actual.exact) == (999, False)
    assert actual.p == 0.002  # twice the smallest one-sided p, 1 / 1000
    mirrored = paired_test([moments(worse)], [moments(pairs)], rng=rng, n_resamples=999)
    assert mirrored.difference == -actual.difference
    assert mirrored.p == 0.002


def test_p_is_uniform_where_methods_do_not_differ():
    rng = np.random.default_rng(10)
    p = []
    for _ in range(120):
        golds = [gold for _, gold in recordings(rng, 6)]
        methods = [[Moments.of(gold + 0.2 * rng.standard_normal() * (1 + gold), gold) for gold in golds] for _ in "ab"]
        p.append(paired_test([methods[0]], [methods[1]], rng=rng, n_resamples=64).p)
    for level in (0.1, 0.25, 0.5, 0.75):
        assert np.mean(np.array(p) <= level) == pytest.approx(level, abs=0.14)  # three standard errors


def test_equal_methods_do_not_differ():
    of_each = moments(recordings(np.random.default_rng(11), 4))
    actual = paired_test([of_each], [of_each], rng=np.random.default_rng(0), n_resamples=99)
    assert (actual.difference, actual.interval, actual.p) == (0, (0, 0), 1)


def test_one_recording_has_a_difference_but_no_interval():
    a, b = (moments(recordings(np.random.default_rng(12), 1, noise=noise)) for noise in (0.1, 1.0))
    actual = paired_test([a], [b], rng=np.random.default_rng(0))
    assert actual.difference != 0
    assert (actual.p, actual.arrangements, actual.exact) == (1, 2, True)
    assert all(map(math.isnan, actual.interval))
    assert all(map(math.isnan, score_intervals([a])["rmse"]))


def test_an_undefined_ccc_makes_p_and_interval_nan():
    constant = [Moments.of([1.0, 1.0], [1.0, 1.0]), Moments.of([1.0], [1.0])]
    actual = paired_test([constant], [constant], rng=np.random.default_rng(0), n_resamples=99)
    assert all(map(math.isnan, (actual.difference, actual.p, *actual.interval)))


def test_spread_over_seeds():
    assert spread([0.1, 0.2, 0.6]) == pytest.approx((0.3, math.sqrt(0.07)))
    assert spread([0.5]).mean == 0.5
    assert math.isnan(spread([0.5]).deviation)


def test_holm_adjusts_for_the_number_of_comparisons():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # Holm's own example
    assert holm([0.6, 0.7]) == [1, 1]
    first, second = holm([math.nan, 0.02])
    assert math.isnan(first)
    assert second == 0.04


def test_methods_with_different_recordings_are_refused():
    rng = np.random.default_rng(13)
    of_each, others = moments(recordings(rng, 3)), moments(recordings(rng, 3))
    with refused("mismatch", field="recordings"):
        paired_test([of_each], [of_each[:2]], rng=rng)
    with refused("mismatch", field="seeds"):
        paired_test([of_each], [of_each, of_each], rng=rng)
    with refused("mismatch", field="frames"):
        paired_test([of_each], [others], rng=rng)
    with refused("mismatch", field="recordings"):
        score_intervals([of_each, of_each[:2]])
    with refused("empty", field="recordings"):
        score_intervals([[]])
    with refused("name-unknown", field="convention"):
        joined_score(of_each, "median")
