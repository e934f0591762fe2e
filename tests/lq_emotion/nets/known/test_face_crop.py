"""Cutting a face out of a frame."""

import numpy as np
import pytest

from lq_emotion.faces.face import Face
from lq_emotion.nets.known.face_crop import FaceCrop
from tests.refusals import refused


def frame():
    return np.arange(8 * 10 * 3, dtype=np.uint8).reshape(8, 10, 3)


def test_a_box_is_cut_as_it_is():
    crop = FaceCrop(square=False).cut(frame(), Face(2, 1, 4, 3, 1.0))
    np.testing.assert_array_equal(crop, frame()[1:4, 2:6])


def test_the_shorter_side_grows_to_the_longer_around_the_same_centre():
    np.testing.assert_array_equal(FaceCrop().cut(frame(), Face(2, 1, 4, 6, 1.0)), frame()[1:7, 1:7])


def test_the_margin_is_a_part_of_the_side():
    image = np.random.default_rng(0).integers(0, 256, (50, 40, 3), np.uint8)
    np.testing.assert_array_equal(FaceCrop(margin=0.1).cut(image, Face(10, 20, 20, 20, 1.0)), image[18:42, 8:32])


def test_what_lies_outside_the_frame_repeats_its_edge():
    crop = FaceCrop(square=False).cut(frame(), Face(-2, 6, 4, 4, 1.0))
    assert crop.shape == (4, 4, 3)
    np.testing.assert_array_equal(crop[0], frame()[6][[0, 0, 0, 1]])
    np.testing.assert_array_equal(crop[3], crop[1])


def test_a_transposed_crop_has_rows_for_columns():
    crop = FaceCrop(square=False, transposed=True).cut(frame(), Face(2, 1, 4, 3, 1.0))
    np.testing.assert_array_equal(crop, frame()[1:4, 2:6].transpose(1, 0, 2))


def test_a_box_smaller_than_a_pixel_gives_one_pixel():
    assert FaceCrop().cut(frame(), Face(2, 2, 0, 0, 1.0)).shape == (1, 1, 3)


def test_a_box_outside_the_frame_is_refused():
    with refused("out-of-range", field="face"):
        FaceCrop().cut(frame(), Face(20, 1, 4, 4, 1.0))


def test_a_box_that_is_not_finite_is_refused():
    with refused("not-finite"):
        FaceCrop().cut(frame(), Face(float("nan"), 1, 4, 4, 1.0))


@pytest.mark.parametrize("margin", [float("nan"), 1e308, -0.5])
def test_a_margin_that_cuts_nothing_or_everything_is_refused(margin):
    with pytest.raises(ValueError, match="margin"):
        FaceCrop(margin=margin)
