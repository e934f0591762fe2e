"""Conditions of a face: size, sharpness, light, and the bits of recent frames."""

import math

import cv2
import numpy as np
import pytest

from lq_emotion.faces.face import Face
from lq_emotion.quality.measures import MEASURES, RecentBits, measure, table
from tests.refusals import refused


def face(x, y, width, height):
    return Face(x, y, width, height, 1.0)


def checks(side=96, cell=8):
    """A board of black and white."""
    y, x = np.mgrid[:side, :side] // cell
    return np.repeat(((x + y) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)


def test_the_size_is_the_shorter_side_of_the_box():
    assert measure(checks(), face(10, 10, 40, 30.5)).size == 30.5


def test_a_plain_face_has_no_sharpness_and_no_contrast():
    condition = measure(np.full((50, 50, 3), 90, np.uint8), face(5, 5, 40, 40), 0.25)
    assert (condition.sharpness, condition.brightness, condition.contrast, condition.bits) == (0, 90, 0, 0.25)


def test_a_blurred_face_is_less_sharp():
    sharp, blurred = checks(), np.asarray(cv2.GaussianBlur(checks(), (0, 0), 3), np.uint8)
    box = face(0, 0, 96, 96)
    assert measure(blurred, box).sharpness < measure(sharp, box).sharpness / 10


def test_a_face_of_fewer_pixels_is_less_sharp():
    small = np.asarray(cv2.resize(checks(), (24, 24), interpolation=cv2.INTER_AREA), np.uint8)
    assert measure(small, face(0, 0, 24, 24)).sharpness < measure(checks(), face(0, 0, 96, 96)).sharpness / 2


def test_only_the_part_of_the_box_in_the_image_is_measured():
    image = np.zeros((40, 40, 3), np.uint8)
    image[:10, :10] = 200
    assert measure(image, face(-30, -30, 40, 40)).brightness == 200


@pytest.mark.parametrize(("box", "code"), [((100, 0, 20, 20), "out-of-range"), ((math.nan, 0, 20, 20), "not-finite")])
def test_a_box_without_pixels_is_refused(box, code):
    with refused(code, field="face"):
        measure(checks(), face(*box))


def test_the_table_has_a_column_for_each_measure():
    condition = measure(checks(), face(0, 0, 96, 96))
    assert table([condition, condition]).shape == (2, len(MEASURES))
    assert table([]).shape == (0, 5)
    assert math.isnan(table([condition])[0, MEASURES.index("bits")])


def test_a_key_frame_does_not_stand_out_of_recent_bits():
    recent = RecentBits()
    values = [recent(bits, 100) for bits in (9000, 50, 40, 60)]
    assert values == [90.0, 45.25, 0.5, 0.55]


def test_recent_bits_forget_what_is_over_a_second_old():
    recent = RecentBits()
    for _ in range(25):
        recent(1000, 10)
    for _ in range(25):
        value = recent(10, 10)
    assert value == 1.0


def test_unknown_bits_stay_unknown():
    recent = RecentBits()
    assert math.isnan(recent(math.nan, 100))
    assert recent(50, 100) == 0.5
    assert recent(math.nan, 100) == 0.5
