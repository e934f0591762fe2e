"""Boxes round-trip through the authors' bbox.mat and through tables; invalid files are refused."""

import numpy as np
import pytest
import scipy.io

from lq_emotion.faces.boxfiles import read_boxes, write_boxes
from matlab_ports.matfile import savemat
from tests.refusals import refused

BOXES = np.array([[10.25, 20, 110, 120.5], [0, 0, 0, 0], [1 / 3, 2, 3, 4]])
TIMES = np.array([0.0, 0.04, 0.12])


@pytest.mark.parametrize("name", ["b.mat", "b.csv"])
def test_boxes_round_trip(tmp_path, name):
    write_boxes(tmp_path / name, BOXES, TIMES)
    file = read_boxes(tmp_path / name)
    np.testing.assert_allclose(file.bbox, BOXES, rtol=1e-9 if name.endswith("csv") else 0)
    np.testing.assert_array_equal(file.time, TIMES)


@pytest.mark.parametrize(("detected", "expected"), [(None, "101"), ([True, False, False], "100")])
def test_a_table_records_which_boxes_were_detected(tmp_path, detected, expected):
    write_boxes(tmp_path / "b.csv", BOXES, TIMES, detected=detected)
    lines = (tmp_path / "b.csv").read_text().splitlines()
    assert lines[0] == "frame,time,left,top,width,height,detected"
    assert lines[1].startswith("0,0,10.25,20,110,120.5,")
    assert "".join(line[-1] for line in lines[1:]) == expected


@pytest.mark.parametrize("name", ["b.mat", "b.csv"])
@pytest.mark.parametrize(
    ("bbox", "time", "detected"),
    [(BOXES[:, :3], TIMES, None), (BOXES, TIMES[:2], None), (BOXES[0], TIMES, None), (BOXES, TIMES, [True])],
)
def test_boxes_of_another_shape_than_their_times_are_not_written(tmp_path, name, bbox, time, detected):
    with refused("shape-mismatch", file=name):
        write_boxes(tmp_path / name, bbox, time, detected=detected)
    assert not list(tmp_path.iterdir())


def test_the_mat_file_has_the_form_the_authors_script_loads(tmp_path):
    write_boxes(tmp_path / "b.mat", BOXES, TIMES)
    variables = scipy.io.loadmat(tmp_path / "b.mat")
    assert variables["bbox"].shape == (3, 4)
    assert variables["time"].shape == (3, 1)
    assert variables["bbox"].dtype == variables["time"].dtype == np.float64


@pytest.mark.parametrize("version", ["-v6", "-v7", "-v7.3"])
def test_mat_files_of_any_version_and_times_in_a_row_are_read(tmp_path, version):
    savemat(tmp_path / "b.mat", {"time": TIMES[None, :], "bbox": BOXES, "more": 1.0}, version)
    np.testing.assert_array_equal(read_boxes(tmp_path / "b.mat").bbox, BOXES)


@pytest.mark.parametrize("separator", [",", ";"])
def test_columns_of_a_table_may_come_in_any_order(tmp_path, separator):
    lines = ["Height, width ,top,left,detected,time", "4,3,2,1,yes,0.04"]
    (tmp_path / "b.csv").write_text("\n".join(lines).replace(",", separator))
    file = read_boxes(tmp_path / "b.csv")
    assert file.bbox.tolist() == [[1, 2, 3, 4]]
    assert file.time.tolist() == [0.04]


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("time,left,top,width\n0,1,2,3\n", "field-missing", 1),
        ("time,left,top,width,height\n0,1,2,3,nan\n", "not-finite", 2),
        ("time,left,top,width,height\n0,1,2,3,4\n1,1,2,-3,4\n", "out-of-range", None),
        ("time,left,top,width,height\n0,1,2,3,4\n1,1,2,3,-4\n", "out-of-range", None),
    ],
)
def test_invalid_tables_are_refused(tmp_path, text, code, line):
    (tmp_path / "b.csv").write_text(text)
    with refused(code, file="b.csv", line=line):
        read_boxes(tmp_path / "b.csv")


@pytest.mark.parametrize(
    ("variables", "code"),
    [
        ({"bbox": BOXES[:, :3], "time": TIMES}, "shape-mismatch"),
        ({"bbox": BOXES, "time": TIMES[:2]}, "shape-mismatch"),
        ({"bbox": BOXES}, "field-missing"),
    ],
    ids=["3 columns", "2 times", "no times"],
)
def test_an_invalid_mat_file_is_refused(tmp_path, variables, code):
    savemat(tmp_path / "b.mat", variables)
    with refused(code, file="b.mat"):
        read_boxes(tmp_path / "b.mat")
