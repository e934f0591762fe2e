import numpy as np
import pytest

from caffe_compat.errors import DataError
from lq_emotion.datasets.avec.times import match, require_grid, snap


def test_decimals_and_sums_of_the_step_lie_on_one_grid():
    decimals = [float(f"{0.04 * k:.2f}") for k in range(7501)]
    sums = np.cumsum(np.full(7501, 0.04)) - 0.04
    assert require_grid(decimals).tolist() == list(range(7501))
    assert require_grid(np.abs(sums)).tolist() == list(range(7501))


def test_missing_frames_are_no_error():
    assert require_grid([0.0, 0.04, 0.2]).tolist() == [0, 1, 5]


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([0.0, 1 / 30, 2 / 30], r"a.csv: time of row 2 = 0.0333\d*: is not on the grid of 0.04 s .* \(and 1 more\)"),
        ([0.0, 0.08, 0.04], "time of row 3 = 0.04: is before the time above it"),
        ([0.0, 0.04, 0.0401], "time of row 3 = 0.0401: is there twice"),
        ([-0.04, 0.0], "time of row 1 = -0.04: is not on the grid"),
        ([0.0, np.nan], "time of row 2 = nan: is no time"),
        ([], "there are no times"),
    ],
)
def test_times_that_do_not_fit_are_named_with_their_row(times, message):
    with pytest.raises(DataError, match=message):
        require_grid(times, where="a.csv")


def test_times_match_on_the_grid_in_any_order():
    assert match([0.04, 0.12], [0.12000000000000001, 0.08, 0.0399999], what="gold standard").tolist() == [2, 0]


def test_missing_times_are_listed_the_first_of_them_and_how_many():
    with pytest.raises(DataError) as failure:
        match([0.04 * k for k in range(20)], [0.04 * k for k in range(12)], what="gold standard", where="a.arff")
    assert str(failure.value) == (
        "a.arff: time: the gold standard is missing at 8 of 20 times: 0.48, 0.52, 0.56, 0.60, 0.64, ... s "
        "(it is matched on the grid of 0.04 s)"
    )
    with pytest.raises(DataError, match="missing at 1 of 2 times: 0.00 s"):
        match([0.0, 0.04], [0.04], what="boxes")
    with pytest.raises(DataError, match="missing at 2 of 2"):
        match([0.0, 0.04], [], what="boxes")


def test_a_time_that_is_there_twice_is_refused():
    with pytest.raises(DataError, match="the boxes has 0.08 s more than once"):
        match([0.0], [0.0, 0.08, 0.0801], what="boxes")


def test_snapped_times_are_the_very_doubles_where_the_place_is_the_same():
    sums = np.cumsum(np.full(400, 0.04))
    decimals = np.array([float(f"{0.04 * k:.2f}") for k in range(1, 401) if k % 7])
    assert not np.isin(decimals, sums).all()
    snapped = snap(sums, decimals)
    assert np.isin(decimals, snapped).all()
    assert snapped[6] == sums[6]
