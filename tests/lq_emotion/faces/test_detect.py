"""Detectors: the cascade follows one face, Haar and Ultra-Light find all of them; boxes in pixels of the picture."""

import math

import cv2
import numpy as np
import pytest

from caffe_compat import load_net
from caffe_compat.formats.files import parse_text
from caffe_compat.schema.caffe_pb2 import NetParameter
from lq_emotion.faces.detect import Box, Cascade, Haar
from lq_emotion.faces.ultra_light import UltraLight, _anchors
from tests.refusals import refused


@pytest.fixture
def gray(astronaut):
    return cv2.cvtColor(astronaut, cv2.COLOR_RGB2GRAY)


def box(face):
    return face.x, face.y, face.width, face.height


def overlap(a, b):
    """Intersection over union of two boxes (left, top, width, height)."""
    left, top = max(a[0], b[0]), max(a[1], b[1])
    right, bottom = min(a[0] + a[2], b[0] + b[2]), min(a[1] + a[3], b[1] + b[3])
    intersection = max(0, right - left) * max(0, bottom - top)
    return intersection / (a[2] * a[3] + b[2] * b[3] - intersection)


FACE = Box(172, 66, 100, 100)  # marked by hand


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_a_face_is_detected_at_any_size_of_the_image(gray, scale):
    found = Cascade()(cv2.resize(gray, None, fx=scale, fy=scale))
    assert overlap(found, Box(*(scale * value for value in FACE))) > 0.6


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


HEAD = (165, 60, 110, 140)  # left, top, width, height of the astronaut's, from hair line to chin


@pytest.fixture
def published(reference):
    return reference / "published" / "ultra_light"


@pytest.mark.parametrize("shape", [(4000, 2, 3), (2, 4000, 3), (1, 1, 3)])
def test_haar_finds_nothing_in_a_strip(shape):
    assert Haar()([np.zeros(shape, np.uint8)]) == [[]]


def test_haar_finds_every_face_of_a_picture(astronaut):
    none, one, two = Haar()([astronaut[300:], astronaut, np.hstack([astronaut, astronaut])])
    assert none == []
    assert max(overlap(box(face), HEAD) for face in one) > 0.5
    assert math.isnan(one[0].score)
    assert {round(face.x) // 512 for face in two} == {0, 1}


@pytest.mark.parametrize("form", ["RFB-320", "slim-320"])
def test_ultra_light_finds_the_astronaut_at_any_size_of_the_picture(published, astronaut, form):
    detector = UltraLight(load_net(published / f"{form}.prototxt", published / f"{form}.caffemodel"))
    wide = np.hstack([np.zeros((512, 200, 3), np.uint8), astronaut])
    (face,), (moved,), none = detector([astronaut, wide, np.zeros((90, 120, 3), np.uint8)])
    assert face.score > 0.95
    assert overlap(box(face), HEAD) > 0.6
    assert overlap(box(moved), (HEAD[0] + 200, *HEAD[1:])) > 0.6
    assert none == []


def test_the_anchors_are_the_published_ones():
    anchors = _anchors()
    assert anchors.shape == (4420, 4)
    np.testing.assert_allclose(anchors[0], [4 / 320, 4 / 240, 10 / 320, 10 / 240])
    np.testing.assert_allclose(anchors[-1], [288 / 320, 224 / 240, 256 / 320, 1])


def test_another_net_is_refused():
    text = 'input: "x" input_shape { dim: 1 } layer { name: "y" type: "ReLU" bottom: "x" top: "y" }'
    with refused("shape-mismatch", field="net"):
        UltraLight(load_net(parse_text(text, NetParameter)))
