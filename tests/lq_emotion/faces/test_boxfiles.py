"""Boxes go to the authors' bbox.mat and to tables, and come back; what is neither is refused with its row."""

import numpy as np
import pytest
import scipy.io

from caffe_compat.errors import CaffeCompatError
from lq_emotion.faces.boxfiles import read_boxes, write_boxes
from matlab_ports import PortError
from matlab_ports.matfile import savemat

BOXES = np.array([[10.25, 20, 110, 120.5], [0, 0, 0, 0], [1 / 3, 2, 3, 4]])
TIMES = np.array([0.0, 0.04, 0.12])


@pytest.mark.parametrize("name", ["b.mat", "b.csv"])
def test_boxes_come_back(tmp_path, name):
    write_boxes(tmp_path / name, BOXES, TIMES)
    found = read_boxes(tmp_path / name)
    np.testing.assert_allclose(found.bbox, BOXES, rtol=1e-9 if name.endswith("csv") else 0)
    np.testing.assert_array_equal(found.time, TIMES)


@pytest.mark.parametrize(("detected", "told"), [(None, "101"), ([True, False, False], "100")])
def test_a_table_tells_which_boxes_were_found(tmp_path, detected, told):
    write_boxes(tmp_path / "b.csv", BOXES, TIMES, detected=detected)
    lines = (tmp_path / "b.csv").read_text().splitlines()
    assert lines[0] == "frame,time,left,top,width,height,detected"
    assert lines[1].startswith("0,0,10.25,20,110,120.5,")
    assert "".join(line[-1] for line in lines[1:]) == told


@pytest.mark.parametrize("name", ["b.mat", "b.csv"])
@pytest.mark.parametrize(
    ("bbox", "time", "detected"),
    [(BOXES[:, :3], TIMES, None), (BOXES, TIMES[:2], None), (BOXES[0], TIMES, None), (BOXES, TIMES, [True])],
)
def test_boxes_that_do_not_fit_are_not_written(tmp_path, name, bbox, time, detected):
    with pytest.raises(CaffeCompatError, match="do not fit"):
        write_boxes(tmp_path / name, bbox, time, detected=detected)
    assert not list(tmp_path.iterdir())


def test_the_mat_file_is_as_the_authors_script_loads_it(tmp_path):
    write_boxes(tmp_path / "b.mat", BOXES, TIMES)
    found = scipy.io.loadmat(tmp_path / "b.mat")
    assert found["bbox"].shape == (3, 4)
    assert found["time"].shape == (3, 1)
    assert found["bbox"].dtype == found["time"].dtype == np.float64


@pytest.mark.parametrize("version", ["-v6", "-v7", "-v7.3"])
def test_any_version_and_a_row_of_times_are_read(tmp_path, version):
    savemat(tmp_path / "b.mat", {"time": TIMES[None, :], "bbox": BOXES, "more": 1.0}, version)
    np.testing.assert_array_equal(read_boxes(tmp_path / "b.mat").bbox, BOXES)


@pytest.mark.parametrize("separator", [",", ";"])
def test_columns_of_a_table_may_stand_in_any_order(tmp_path, separator):
    lines = ["Height, width ,top,left,detected,time", "4,3,2,1,yes,0.04"]
    (tmp_path / "b.csv").write_text("\n".join(lines).replace(",", separator))
    found = read_boxes(tmp_path / "b.csv")
    assert found.bbox.tolist() == [[1, 2, 3, 4]]
    assert found.time.tolist() == [0.04]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("time,left,top,width\n", r"b\.csv:1: has no column 'height'"),
        ("time,left,top,width,height\n", "holds no boxes"),
        ("time,left,top,width,height\n0,1,2,3\n", r"b\.csv:2: no number for each of"),
        ("time,left,top,width,height\n0,1,2,3,x\n", r"b\.csv:2: no number for each of"),
        ("time,left,top,width,height\n0,1,2,3,nan\n", "row 1 holds what is not a number"),
        ("time,left,top,width,height\n0,1,2,3,4\n1,1,2,-3,4\n", "row 2 has a negative size"),
        (
            "time,left,top,width,height\n0,1,2,3,4\n0,1,2,3," + "4" * 140_000,
            r"b\.csv:3: is no row of values: field larger",
        ),
        (b"\xff\xfe\x00\x00", "is no text"),
        (None, "cannot be read"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path, text, message):
    if text is not None:
        (tmp_path / "b.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CaffeCompatError, match=message):
        read_boxes(tmp_path / "b.csv")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"bbox": BOXES}, "no variable time"),
        ({"bbox": BOXES[:, :3], "time": TIMES}, "bbox is 3 x 3 and time 1 x 3"),
        ({"bbox": BOXES, "time": TIMES[:2]}, "bbox is 3 x 4 and time 1 x 2"),
    ],
)
def test_a_mat_file_without_boxes_and_times_is_refused(tmp_path, variables, message):
    savemat(tmp_path / "b.mat", variables)
    with pytest.raises((CaffeCompatError, PortError), match=message):
        read_boxes(tmp_path / "b.mat")
