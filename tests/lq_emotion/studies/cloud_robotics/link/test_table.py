"""Tables of operating points: CSV, JSON, a sweep's rd.json, and those measured on clips and their classes."""

import json

import numpy as np
import pytest

from lq_emotion.crops.versions import Version
from lq_emotion.studies.cloud_robotics.link.table import (
    Content,
    OperatingPoint,
    RateTable,
    clip_cost,
    operating_point,
    read_table,
)
from tests.refusals import refused

CSV = """\
width,height,fps,codec,qp,kbps,measure,score,low,high,n
256,144,15,x264,32,24.5,accuracy,0.76,0.7,0.8,480
640,360,5,x264,28,60,accuracy,0.77,,,
"""
FIRST = OperatingPoint(
    width=256, height=144, fps=15, codec="x264", qp=32, kbps=24.5, measure="accuracy", score=0.76, low=0.7, high=0.8,
    n=480,
)  # fmt: skip
SWEEP = {
    "data": "HQ", "recordings": ["dev_1"], "models": [], "versions": {}, "convention": "avec", "delay": 0.0,
    "bpp_published": {}, "bits_rise_with_qp": [],
    "frames": 100, "fps": 25, "gop": 250, "preset": "medium",
    "points": [
        {"codec": "x264", "scale": 3, "qp": 20, "model": "OA", "bits": 562560, "vcl_bits": None, "vcl_bpp": None, "bpp": 0.4578125, "psnr": 41.8, "score": {"rmse": None, "cc": None, "ccc": 0.82, "frames": 1200}},
        {"codec": "none", "scale": 3, "qp": None, "model": "OA", "bits": None, "vcl_bits": None, "vcl_bpp": None, "bpp": None, "psnr": None, "score": {"rmse": None, "cc": None, "ccc": 0.83, "frames": 1200}},
        {"codec": "x264", "scale": 3, "qp": 51, "model": "OA", "bits": 1200, "vcl_bits": None, "vcl_bpp": None, "bpp": 0.01, "psnr": 9.0, "score": {"rmse": None, "cc": None, "ccc": None, "frames": 1200}},
    ],
}  # fmt: skip


def write(path, text):
    path.write_text(text)
    return path


def test_csv_and_json_hold_the_same(tmp_path):
    table = read_table(write(tmp_path / "table.csv", CSV))
    assert table.points[0] == FIRST
    assert (table.points[1].low, table.points[1].n, table.points[1].content) == (None, None, Content.FRAME)
    assert read_table(write(tmp_path / "table.json", json.dumps(table.to_json()))) == table


def test_the_coded_points_of_a_sweep_are_faces(tmp_path):
    (point,) = read_table(write(tmp_path / "rd.json", json.dumps(SWEEP))).points
    assert (point.width, point.height, point.fps, point.kbps) == (32, 32, 25, 11.72)
    assert (point.measure, point.score, point.model, point.content) == ("ccc", 0.82, "OA", Content.FACE)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("256,", "0,", 2), ("24.5", "much", 2), ("0.76", "nan", 2), ("accuracy,0.77", "ccc,0.77", None), ("kbps", "rate", 2),
        ("0.77", "7", 3), ("x264,28", "evil,28", 3), ("x264,28", "x264,300", 3), ("0.77,", "0.77,-1", 3),
    ],
)  # fmt: skip
def test_a_damaged_table_is_refused_with_its_line(tmp_path, old, new, line):
    with refused("damaged-file", file="table.csv", line=line):
        read_table(write(tmp_path / "table.csv", CSV.replace(old, new)))


def test_a_table_without_points_is_refused(tmp_path):
    with refused("damaged-file"):
        read_table(write(tmp_path / "table.json", '{"points": []}'))
    with refused("file-missing", file="none.csv"):
        read_table(tmp_path / "none.csv")


def test_the_mean_rate_gives_way_to_a_higher_percentile():
    assert FIRST.rate == 24.5
    assert OperatingPoint(**{**FIRST.to_json(), "content": Content.FRAME, "kbps_high": 40.0}).rate == 40.0
    assert RateTable((FIRST,)).measure == "accuracy"


VERSION = Version(256, 144, 5, 32)
COSTS = ((1.0, 800), (3.0, 900))


def test_a_clip_lasts_to_the_end_of_its_last_frame():
    assert clip_cost(np.arange(5) / 5, [500, 100, 100, 100, 200]) == (1.0, 500.0)


@pytest.mark.parametrize(("bits", "field"), [([np.nan, np.nan], "bits"), ([5], "times")])
def test_uncoded_clips_and_single_frames_have_no_rate(bits, field):
    with refused("out-of-range", field=field):
        clip_cost(np.arange(len(bits)) / 5, bits)


def test_a_point_has_rates_over_clips_and_wilsons_interval():
    point = operating_point(VERSION, COSTS, (True, False), model="LSTM")
    assert (point.kbps, point.kbps_high, point.largest_bits) == (2.0, pytest.approx(2.9), 900)
    assert (point.score, point.n, point.model, point.name) == (0.5, 2, "LSTM", "256x144 5 fps x264 QP 32")
    assert (point.low, point.high) == (pytest.approx(0.09453, abs=1e-5), pytest.approx(0.90547, abs=1e-5))


def test_actors_are_drawn_where_given():
    point = operating_point(VERSION, COSTS * 2, (True, False, True, False), ("01", "02", "01", "02"), model="LSTM")
    assert (point.low, point.high) == (0.0, 1.0)
    assert operating_point(VERSION, COSTS, (True, False), ("01", "01"), model="LSTM").low is None


@pytest.mark.parametrize(
    ("version", "costs", "correct", "code"),
    [
        (Version(256, 144, 5), COSTS, (True, True), "out-of-range"),
        (VERSION, (), (), "empty"),
        (VERSION, COSTS, (True,), "mismatch"),
    ],
)
def test_cells_must_be_coded_and_whole(version, costs, correct, code):
    with refused(code):
        operating_point(version, costs, correct, model="LSTM")
