"""Frame times on the grid: validated, matched and snapped."""

import numpy as np
import pytest

from lq_emotion.datasets.avec.times import frame_times, match_times, require_grid, snap_times
from tests.lq_emotion.datasets.avec.trees import put
from tests.refusals import refused


def test_decimals_and_sums_of_the_step_lie_on_the_same_grid():
    decimals = [float(f"{0.04 * k:.2f}") for k in range(7501)]
    sums = np.cumsum(np.full(7501, 0.04)) - 0.04
    assert require_grid(decimals).tolist() == list(range(7501))
    assert require_grid(np.abs(sums)).tolist() == list(range(7501))


def test_missing_frames_are_allowed():
    assert require_grid([0.0, 0.04, 0.2]).tolist() == [0, 1, 5]


@pytest.mark.parametrize(
    ("times", "code", "row"),
    [
        ([0.0, 1 / 30, 2 / 30], "out-of-range", 2),
        ([0.0, 0.08, 0.04], "invalid", 3),
        ([0.0, 0.04, 0.0401], "duplicate", 3),
        ([-0.04, 0.0], "out-of-range", 1),
        ([0.0, np.nan], "not-finite", 2),
        ([], "empty", None),
    ],
)
def test_invalid_times_are_refused_with_their_row(times, code, row):
    with refused(code, file="a.csv", field=row and f"time of row {row}"):
        require_grid(times, where="a.csv")


def test_times_match_on_the_grid_in_any_order():
    assert match_times([0.04, 0.12], [0.12000000000000001, 0.08, 0.0399999], what="gold standard").tolist() == [2, 0]


def test_missing_times_are_counted_and_the_first_of_them_listed():
    with refused("mismatch", file="a.arff", field="time") as failure:
        match_times([0.04 * k for k in range(20)], [0.04 * k for k in range(12)], what="gold standard", where="a.arff")
    assert "8 of 20 times: 0.48, 0.52, 0.56, 0.60, 0.64, ... s" in failure.value.problem
    for available in ([0.04], []):
        with refused("mismatch"):
            match_times([0.0, 0.04], available, what="boxes")


def test_a_repeated_time_is_refused():
    with refused("duplicate", field="time"):
        match_times([0.0], [0.0, 0.08, 0.0801], what="boxes")


def test_snapped_times_are_the_same_doubles_at_the_same_grid_index():
    sums = np.cumsum(np.full(400, 0.04))
    decimals = np.array([float(f"{0.04 * k:.2f}") for k in range(1, 401) if k % 7])
    assert not np.isin(decimals, sums).all()
    snapped = snap_times(sums, decimals)
    assert np.isin(decimals, snapped).all()
    assert snapped[6] == sums[6]


def test_frame_times_are_in_the_column_of_that_name_else_in_the_second(tmp_path):
    named = put(tmp_path / "a.csv", "frame;other;Time in seconds \n1;9;0.0\n2;9;0.04\n")
    second = put(tmp_path / "b.csv", "frame;time\n1;0.0\n2;0.04\n")
    assert frame_times(named).tolist() == frame_times(second).tolist() == [0.0, 0.04]


def test_tables_without_frame_times_are_refused(tmp_path):
    with refused("field-missing", file="a.csv", line=1):
        frame_times(put(tmp_path / "a.csv", "time\n0\n"))
    with refused("field-missing", file="a.csv", line=3, column=2, field="time"):
        frame_times(put(tmp_path / "a.csv", "frame;time\n1;0\n2;\n"))
