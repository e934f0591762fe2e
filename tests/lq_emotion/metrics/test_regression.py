"""RMSE, CC and CCC: literal values, the three conventions, constants, gaps and delays."""

import json
import math

import numpy as np
import pytest

from caffe_compat.errors import DataError
from lq_emotion.metrics.delay import frames_of, gold_back, grid_index, predictions_forward
from lq_emotion.metrics.regression import cc, ccc, mean_of, rmse, score

PREDICTION = [2.5, 0, 2, 8]
GOLD = [3, -0.5, 2, 7]


@pytest.mark.parametrize(
    ("convention", "expected"), [("avec", 0.733301), ("population", 0.976789), ("sample", 0.977735)]
)
def test_ccc_of_the_known_vector_in_each_convention(convention, expected):
    assert round(ccc(PREDICTION, GOLD, convention), 6) == expected
    assert round(ccc(GOLD, PREDICTION, convention), 6) == expected


@pytest.mark.parametrize(
    ("convention", "expected"), [("avec", 0.738652), ("population", 0.984870), ("sample", 0.984870)]
)
def test_cc_of_the_known_vector_in_each_convention(convention, expected):
    assert round(cc(PREDICTION, GOLD, convention), 6) == expected


def test_avec_is_the_default_and_the_authors_run_eval(golden):
    record = json.loads((golden / "matlab" / "run_eval_metrics.json").read_text())
    found = score(record["results"], record["valence"])
    assert found.frames == 50
    assert found.rmse == record["RMSE"]
    assert found.cc == pytest.approx(record["CC"], rel=1e-15)
    assert found.ccc == pytest.approx(record["CCC"], rel=1e-15)


def test_rmse_is_over_all_frames():
    assert rmse([1, 2, 3, 4], [1, 2, 3, 0]) == 2.0


@pytest.mark.parametrize("convention", ["avec", "population", "sample"])
@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3])
def test_a_constant_prediction_has_no_cc_and_a_ccc_of_zero(convention, value):
    found = score([value] * 50, np.linspace(-1, 1, 50), convention)
    assert math.isnan(found.cc)
    assert found.ccc == 0


def test_frames_without_one_of_the_two_are_left_out():
    gappy = score([2.5, np.nan, 0, 2, 1, 8], [3, 1, -0.5, 2, np.nan, 7])
    assert gappy == score(PREDICTION, GOLD)
    assert gappy.frames == 4


def test_one_frame_has_no_correlation():
    found = score([1.0], [2.0])
    assert found.rmse == 1.0
    assert math.isnan(found.cc)


def test_the_mean_of_recordings_keeps_a_nan():
    ones = [score(PREDICTION, GOLD), score([1, 2, 3], [1, 2, 3])]
    found = mean_of(ones)
    assert found.frames == 7
    assert found.ccc == (ones[0].ccc + ones[1].ccc) / 2
    assert math.isnan(mean_of([*ones, score([1, 1], [0, 1])]).cc)


@pytest.mark.parametrize(
    ("prediction", "gold", "problem"),
    [
        ([1, 2], [1, 2, 3], "2 predictions for 3 values"),
        ([], [], "no frame with both"),
        ([np.nan, 1], [1, np.nan], "no frame with both"),
    ],
)
def test_traces_that_do_not_fit_are_refused(prediction, gold, problem):
    with pytest.raises(DataError, match=problem):
        score(prediction, gold)


def test_an_unknown_convention_is_refused_with_the_known_ones():
    with pytest.raises(DataError, match=r"'lin'.*avec, population, sample"):
        ccc(PREDICTION, GOLD, "lin")


# Delay.


def test_delays_are_rounded_to_frames_of_40_ms():
    assert [frames_of(seconds) for seconds in (0, 0.04, 0.4, 2.4, 2.81)] == [0, 1, 10, 60, 70]
    for wrong in (-0.4, math.nan, math.inf):
        with pytest.raises(DataError, match="seconds from 0 up"):
            frames_of(wrong)


def test_decimal_times_lie_on_the_grid():
    assert np.array_equal(grid_index([round(0.04 * i, 2) for i in range(7501)]), np.arange(7501))


def test_predictions_move_forward_and_the_first_is_repeated():
    time = np.arange(6) * 0.04
    assert predictions_forward([1, 2, 3, 4, 5, 6], time, 0.08).tolist() == [1, 1, 1, 2, 3, 4]


def test_the_gold_standard_moves_back_and_the_last_is_repeated():
    time = np.arange(6) * 0.04
    assert gold_back([1, 2, 3, 4, 5, 6], time, 0.08).tolist() == [3, 4, 5, 6, 6, 6]


def test_across_dropped_frames_the_last_value_before_counts():
    time = np.array([0, 1, 4, 5, 6]) * 0.04
    assert predictions_forward([10, 11, 14, 15, 16], time, 0.08).tolist() == [10, 10, 11, 11, 14]
    assert gold_back([10, 11, 14, 15, 16], time, 0.08).tolist() == [11, 11, 16, 16, 16]


def test_no_delay_changes_nothing():
    time = np.array([0.0, 0.2, 0.4])
    assert predictions_forward([3, 1, 2], time, 0).tolist() == [3, 1, 2]
    assert gold_back([3, 1, 2], time, 0).tolist() == [3, 1, 2]


def test_times_that_do_not_rise_are_refused():
    with pytest.raises(DataError, match="frame 3 is not after frame 2"):
        predictions_forward([1, 2, 3], [0, 0.04, 0.04], 0.4)
    with pytest.raises(DataError, match="3 values at 2 times"):
        gold_back([1, 2, 3], [0, 0.04], 0.4)
