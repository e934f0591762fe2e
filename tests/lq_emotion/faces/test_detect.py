"""The face of one picture: found where it is, in 1-based pixels of the full picture, near the one before."""

import cv2
import numpy as np
import pytest

from caffe_compat.errors import DataError, FileError
from lq_emotion.faces.detect import Box, Cascade


@pytest.fixture(scope="module")
def astronaut():
    data = pytest.importorskip("skimage.data", reason="needs scikit-image (the extra `demo`)")
    return cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2GRAY)


def overlap(one, two):
    left, top = max(one.left, two.left), max(one.top, two.top)
    right, bottom = min(one.left + one.width, two.left + two.width), min(one.top + one.height, two.top + two.height)
    both = max(0, right - left) * max(0, bottom - top)
    return both / (one.width * one.height + two.width * two.height - both)


FACE = Box(172, 66, 100, 100)  # marked by hand


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_the_face_is_found_at_any_size_of_the_picture(astronaut, scale):
    larger = cv2.resize(astronaut, None, fx=scale, fy=scale)
    found = Cascade()(larger)
    assert overlap(found, Box(*(scale * value for value in FACE))) > 0.6


def test_near_the_face_before_the_same_one_is_found_again(astronaut):
    two = np.concatenate([astronaut, cv2.resize(astronaut, None, fx=1.5, fy=1.5)[:512]], axis=1)
    cascade = Cascade()
    assert overlap(cascade(two), FACE) == 0  # the larger one
    assert overlap(cascade(two, FACE), FACE) > 0.6


def test_a_face_that_moved_away_is_looked_for_everywhere(astronaut):
    assert overlap(Cascade()(astronaut, Box(400, 400, 90, 90)), FACE) > 0.6
    assert overlap(Cascade()(astronaut, Box(508, 508, 90, 90)), FACE) > 0.6


def test_where_there_is_no_face_none_is_returned():
    assert Cascade()(np.zeros((240, 320), np.uint8)) is None
    assert Cascade()(np.zeros((240, 320), np.uint8), Box(10, 10, 100, 100)) is None


def test_a_cascade_that_is_none_is_refused(tmp_path):
    with pytest.raises(FileError, match="no such file"):
        Cascade(tmp_path / "no.xml")
    (tmp_path / "x.xml").write_text("<nothing/>")
    with pytest.raises(FileError, match="is no cascade"):
        Cascade(tmp_path / "x.xml")


def test_an_opencv_without_cascades_says_which_one_has_them(monkeypatch):
    monkeypatch.delattr(cv2, "CascadeClassifier")
    with pytest.raises(DataError, match=r"has no cascades.*opencv-python<5"):
        Cascade()
