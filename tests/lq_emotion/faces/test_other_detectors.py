"""Haar and Ultra-Light: all faces of a picture, with boxes in its own pixels."""

import math

import numpy as np
import pytest

from caffe_compat import load_net
from caffe_compat.formats.files import parse_text
from caffe_compat.schema.caffe_pb2 import NetParameter
from lq_emotion.faces.detect import Haar
from lq_emotion.faces.ultra_light import UltraLight, _anchors
from tests.refusals import refused

FACE = (165, 60, 110, 140)  # left, top, width, height of the astronaut's, from hair line to chin


def overlap(face, box=FACE):
    left, top = max(face.x, box[0]), max(face.y, box[1])
    right, bottom = min(face.x + face.width, box[0] + box[2]), min(face.y + face.height, box[1] + box[3])
    common = max(right - left, 0) * max(bottom - top, 0)
    return common / (face.width * face.height + box[2] * box[3] - common)


@pytest.fixture
def published(reference):
    return reference / "published" / "ultra_light"


@pytest.mark.parametrize("shape", [(4000, 2, 3), (2, 4000, 3), (1, 1, 3)])
def test_haar_finds_nothing_in_a_strip(shape):
    assert Haar()([np.zeros(shape, np.uint8)]) == [[]]


def test_haar_finds_every_face_of_a_picture(astronaut):
    none, one, two = Haar()([astronaut[300:], astronaut, np.hstack([astronaut, astronaut])])
    assert none == []
    assert max(overlap(face) for face in one) > 0.5
    assert math.isnan(one[0].score)
    assert {round(face.x) // 512 for face in two} == {0, 1}


@pytest.mark.parametrize("form", ["RFB-320", "slim-320"])
def test_ultra_light_finds_the_astronaut_at_any_size_of_the_picture(published, astronaut, form):
    detector = UltraLight(load_net(published / f"{form}.prototxt", published / f"{form}.caffemodel"))
    wide = np.hstack([np.zeros((512, 200, 3), np.uint8), astronaut])
    (face,), (moved,), none = detector([astronaut, wide, np.zeros((90, 120, 3), np.uint8)])
    assert face.score > 0.95
    assert overlap(face) > 0.6
    assert overlap(moved, (FACE[0] + 200, *FACE[1:])) > 0.6
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
