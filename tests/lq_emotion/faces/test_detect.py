"""Detection in one image: 1-based boxes of the full image, near the previous face first."""

import cv2
import numpy as np
import pytest

from lq_emotion.faces.detect import Box, Cascade
from tests.refusals import refused


@pytest.fixture
def gray(astronaut):
    return cv2.cvtColor(astronaut, cv2.COLOR_RGB2GRAY)


def overlap(a, b):
    """Intersection over union of two boxes."""
    left, top = max(a.left, b.left), max(a.top, b.top)
    right, bottom = min(a.left + a.width, b.left + b.width), min(a.top + a.height, b.top + b.height)
    intersection = max(0, right - left) * max(0, bottom - top)
    return intersection / (a.width * a.height + b.width * b.height - intersection)


FACE = Box(172, 66, 100, 100)  # marked by hand


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_a_face_is_detected_at_any_size_of_the_image(gray, scale):
    box = Cascade()(cv2.resize(gray, None, fx=scale, fy=scale))
    assert overlap(box, Box(*(scale * value for value in FACE))) > 0.6


def test_the_face_near_the_previous_one_is_preferred_to_a_larger_one(gray):
    both = np.concatenate([gray, cv2.resize(gray, None, fx=1.5, fy=1.5)[:512]], axis=1)
    cascade = Cascade()
    assert overlap(cascade(both), FACE) == 0  # the larger one
    assert overlap(cascade(both, FACE), FACE) > 0.6


def test_a_face_that_moved_away_is_searched_for_in_the_whole_image(gray):
    assert overlap(Cascade()(gray, Box(400, 400, 90, 90)), FACE) > 0.6
    assert overlap(Cascade()(gray, Box(508, 508, 90, 90)), FACE) > 0.6


def test_an_image_without_a_face_gives_none():
    assert Cascade()(np.zeros((240, 320), np.uint8)) is None
    assert Cascade()(np.zeros((240, 320), np.uint8), Box(10, 10, 100, 100)) is None


def test_files_that_are_not_cascades_are_refused(tmp_path):
    with refused("file-missing", file="no.xml"):
        Cascade(tmp_path / "no.xml")
    (tmp_path / "x.xml").write_text("<nothing/>")
    with refused("wrong-format", file="x.xml"):
        Cascade(tmp_path / "x.xml")


def test_without_cascades_the_error_names_a_version_of_opencv_that_has_them(monkeypatch):
    monkeypatch.delattr(cv2, "CascadeClassifier")
    with refused("dependency-missing", hint="opencv-python<5"):
        Cascade()
