"""RMSE, CC and CCC: literal values, three conventions, constants, gaps and delays."""

import json
import math

import numpy as np
import pytest

from lq_emotion.metrics.delay import delay_in_frames, shift, shift_gold
from lq_emotion.metrics.regression import ccc, mean_score, score
from tests.refusals import refused

PREDICTION = [2.5, 0, 2, 8]
GOLD = [3, -0.5, 2, 7]


@pytest.mark.parametrize(
    ("convention", "expected_cc", "expected_ccc"),
    [("avec", 0.738652, 0.733301), ("population", 0.984870, 0.976789), ("sample", 0.984870, 0.977735)],
)
def test_cc_and_ccc_of_a_published_vector_in_each_convention(convention, expected_cc, expected_ccc):
    assert round(score(PREDICTION, GOLD, convention).cc, 6) == expected_cc
    assert round(ccc(PREDICTION, GOLD, convention), 6) == expected_ccc
    assert round(ccc(GOLD, PREDICTION, convention), 6) == expected_ccc


def test_the_default_convention_agrees_with_the_authors_run_eval(golden):
    record = json.loads((golden / "matlab" / "run_eval_metrics.json").read_text())
    result = score(record["results"], record["valence"])
    assert result.frames == 50
    assert result.rmse == record["RMSE"]
    assert result.cc == pytest.approx(record["CC"], rel=1e-15)
    assert result.ccc == pytest.approx(record["CCC"], rel=1e-15)


def test_rmse_is_over_all_frames():
    assert score([1, 2, 3, 4], [1, 2, 3, 0]).rmse == 2.0


@pytest.mark.parametrize("convention", ["avec", "population", "sample"])
@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3])
def test_a_constant_prediction_has_an_undefined_cc_and_zero_ccc(convention, value):
    result = score([value] * 50, np.linspace(-1, 1, 50), convention)
    assert result.cc is None
    assert result.ccc == 0


def test_frames_without_a_prediction_or_a_label_are_left_out():
    gappy = score([2.5, np.nan, 0, 2, 1, 8], [3, 1, -0.5, 2, np.nan, 7])
    assert gappy == score(PREDICTION, GOLD)
    assert gappy.frames == 4


def test_a_single_frame_has_no_correlation():
    result = score([1.0], [2.0])
    assert result.rmse == 1.0
    assert result.cc is None


def test_an_undefined_score_of_one_recording_makes_the_mean_undefined():
    scores = [score(PREDICTION, GOLD), score([1, 2, 3], [1, 2, 3])]
    mean = mean_score(scores)
    assert mean.frames == 7
    assert mean.ccc == (scores[0].ccc + scores[1].ccc) / 2
    assert mean_score([*scores, score([1, 1], [0, 1])]).cc is None


@pytest.mark.parametrize(
    ("prediction", "gold", "code"),
    [([1, 2], [1, 2, 3], "wrong-count"), ([], [], "empty"), ([np.nan, 1], [1, np.nan], "empty")],
)
def test_traces_that_cannot_be_compared_are_refused(prediction, gold, code):
    with refused(code):
        score(prediction, gold)


def test_an_unknown_convention_is_refused_with_a_list_of_conventions():
    with refused("name-unknown", field="convention", value="lin", hint="avec, population, sample"):
        ccc(PREDICTION, GOLD, "lin")


def test_delays_are_rounded_to_frames_of_40_ms():
    assert [delay_in_frames(seconds) for seconds in (0, 0.04, 0.4, 2.4, 2.81)] == [0, 1, 10, 60, 70]
    for invalid in (-0.4, math.inf):
        with refused("out-of-range", field="delay", value=invalid):
            delay_in_frames(invalid)
    with refused("out-of-range", field="delay"):
        delay_in_frames(math.nan)


@pytest.mark.parametrize(
    ("frames", "delay", "values", "predictions", "gold"),
    [
        (range(6), 0.08, [1, 2, 3, 4, 5, 6], [1, 1, 1, 2, 3, 4], [3, 4, 5, 6, 6, 6]),
        ([0, 1, 4, 5, 6], 0.08, [10, 11, 14, 15, 16], [10, 10, 11, 11, 14], [11, 11, 16, 16, 16]),
        ([0, 5, 10], 0, [3, 1, 2], [3, 1, 2], [3, 1, 2]),
    ],
    ids=["all frames", "dropped frames", "no delay"],
)
def test_predictions_move_forward_the_gold_standard_back_and_end_values_repeat(
    frames, delay, values, predictions, gold
):
    time = np.array(frames) * 0.04
    assert shift(values, time, delay).tolist() == predictions
    assert shift_gold(values, time, delay).tolist() == gold


def test_times_that_do_not_increase_are_refused():
    with refused("invalid", field="time", value=0.04):
        shift([1, 2, 3], [0, 0.04, 0.04], 0.4)
    with refused("wrong-count", field="time"):
        shift_gold([1, 2, 3], [0, 0.04], 0.4)
