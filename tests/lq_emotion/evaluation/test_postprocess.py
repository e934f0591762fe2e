"""AVEC's post-processing agrees with its transcription in every branch."""

import numpy as np
import pytest

from lq_emotion.evaluation.postprocess import learn, medfilt1
from tests.reference import avec_postprocess as slow
from tests.refusals import refused

LONGEST = 30


def case(seed, noise, *, length=240, scale=1.0, bias=0.0, period=60.0):
    rng = np.random.default_rng(seed)
    gold = np.sin(np.arange(length) * 2 * np.pi / period) * 0.3 + 0.05
    return (gold + rng.standard_normal(length) * noise) * scale + bias, gold


@pytest.mark.parametrize("window", [0, 1, 2, 3, 10, 17, 20, 60, 61, 300])
def test_medfilt1_is_matlabs(window):
    trace, _ = case(1, 1.0, length=60)
    assert medfilt1(trace, window).tolist() == slow.medfilt1(trace.tolist(), window)


CASES = [
    *((seed, noise, 1.0, 0.0, period) for seed in range(6) for noise in (0.02, 0.3, 1.0) for period in (25.0, 200.0)),
    *((seed, 0.6, 0.4, 0.3, 90.0) for seed in range(6)),
    (9, 0.2, -1.0, 0.1, 60.0),
]


@pytest.mark.parametrize(("seed", "noise", "scale", "bias", "period"), CASES)
def test_learnt_parameters_agree_with_the_official_script(seed, noise, scale, bias, period):
    prediction, gold = case(seed, noise, scale=scale, bias=bias, period=period)
    scores, (window, shift, factor), _ = slow.train(prediction.tolist(), gold.tolist(), LONGEST)
    result = learn(prediction, gold, longest=LONGEST)
    assert result.window == window
    assert result.bias == pytest.approx(shift, rel=1e-12, abs=1e-15)
    assert result.scale == pytest.approx(factor, rel=1e-12)
    assert list(result.ccc) == ["raw", "filter", "bias", "scale"]
    assert list(result.ccc.values()) == pytest.approx(scores, rel=1e-11)


def test_the_cases_reach_every_outcome_of_the_search():
    windows = {learn(*case(s, n, scale=c, bias=b, period=p), longest=LONGEST).window for s, n, c, b, p in CASES}
    assert {0, 10, 20, 30} & windows >= {0, 10}
    assert windows - {0, 10, 20, 30}  # reached by halving


def test_the_official_bug_is_reproduced_unless_the_search_is_consistent():
    affected = []
    for seed in range(40):
        prediction, gold = case(seed, 0.8, bias=0.2, period=45.0)
        official = learn(prediction, gold, longest=LONGEST)
        consistent = learn(prediction, gold, longest=LONGEST, search="consistent")
        assert official.window == consistent.window
        if official != consistent:
            affected.append(seed)
            assert official.bias == pytest.approx(
                slow.train(prediction.tolist(), gold.tolist(), LONGEST)[1][1], rel=1e-12
            )
            trace = medfilt1(prediction, consistent.window)
            assert consistent.bias == pytest.approx(gold.mean() - trace.mean(), rel=1e-12)
    assert affected


def test_processing_filters_then_adds_the_bias_then_scales():
    prediction, gold = case(3, 0.6, scale=0.4, bias=0.3, period=90.0)
    result = learn(prediction, gold, longest=LONGEST, search="consistent")
    assert result.window
    assert result.bias
    assert result.scale != 1
    expected = (np.array(slow.medfilt1(prediction.tolist(), result.window)) + result.bias) * result.scale
    assert np.array_equal(result.apply(prediction), expected)


def test_a_perfect_prediction_is_not_processed():
    _, gold = case(0, 0.1)
    result = learn(gold, gold, longest=LONGEST)
    assert (result.window, result.bias, result.scale) == (0, 0.0, 1.0)


def test_a_constant_prediction_is_neither_filtered_nor_scaled():
    result = learn(np.full(240, 0.25), case(0, 0.1)[1], longest=LONGEST)
    assert (result.window, result.scale) == (0, 1.0)
    assert result.ccc["scale"] == 0


def test_missing_values_are_refused():
    prediction, gold = case(0, 0.1)
    prediction[6] = np.nan
    with refused("not-finite", field="predictions") as failure:
        learn(prediction, gold)
    assert "frame 7" in failure.value.problem
    gold[3] = np.nan
    with refused("not-finite", field="the gold standard"):
        learn(np.zeros(240), gold)
