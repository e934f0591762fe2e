"""From crops of clips and their classes to a table of operating points."""

import numpy as np
import pytest

from caffe_compat.errors import DataError
from lq_emotion.crops.versions import Version
from lq_emotion.studies.cloud_robotics.link.table import ClipCost, MeasuredCell, clip_cost, operating_points

VERSION = Version(256, 144, 5, 32)
COSTS = (ClipCost(1, 1000, 800), ClipCost(2, 6000, 900))


def test_a_clip_lasts_to_the_end_of_its_last_frame():
    assert clip_cost(np.arange(5) / 5, [500, 100, 100, 100, 200]) == ClipCost(1.0, 1000.0, 500.0)


@pytest.mark.parametrize(("bits", "field"), [([np.nan, np.nan], "bits"), ([5], "times")])
def test_uncoded_clips_and_single_frames_have_no_rate(bits, field):
    with pytest.raises(DataError) as caught:
        clip_cost(np.arange(len(bits)) / 5, bits)
    assert (caught.value.code, caught.value.field) == ("out-of-range", field)


def test_a_point_has_rates_over_clips_and_wilsons_interval():
    (point,) = operating_points([MeasuredCell(VERSION, COSTS, (True, False))], "LSTM").points
    assert (point.kbps, point.kbps_high, point.largest_bits) == (2.0, pytest.approx(2.9), 900)
    assert (point.score, point.n, point.model, point.name) == (0.5, 2, "LSTM", "256x144 5 fps x264 QP 32")
    assert (point.low, point.high) == (pytest.approx(0.09453, abs=1e-5), pytest.approx(0.90547, abs=1e-5))


def test_actors_are_drawn_where_given():
    cell = MeasuredCell(VERSION, COSTS * 2, (True, False, True, False), ("01", "02", "01", "02"))
    (point,) = operating_points([cell], "LSTM").points
    assert (point.low, point.high) == (0.0, 1.0)
    alone = MeasuredCell(VERSION, COSTS, (True, False), ("01", "01"))
    assert operating_points([alone], "LSTM").points[0].low is None


def test_cells_must_be_coded_and_whole():
    for version, costs, correct, code in [
        (Version(256, 144, 5), COSTS, (True, True), "out-of-range"),
        (VERSION, (), (), "empty"),
        (VERSION, COSTS, (True,), "mismatch"),
    ]:
        with pytest.raises(DataError) as caught:
            MeasuredCell(version, costs, correct)
        assert caught.value.code == code
