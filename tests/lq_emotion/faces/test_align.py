"""Faces brought to a template by their landmarks."""

import math

import cv2
import numpy as np
import pytest

from caffe_compat.errors import DataError
from lq_emotion.faces.align import SIDE, TEMPLATE, align, similarity
from lq_emotion.faces.face import Face


def face(points):
    return Face(0, 0, 10, 10, 1.0, tuple(map(tuple, points)))


def turned(points, *, angle, scale, shift):
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return np.asarray(points) @ turn.T + shift


def test_a_similarity_is_found_again():
    moved = turned(TEMPLATE, angle=0.4, scale=2.5, shift=(30, -7))
    matrix = similarity(TEMPLATE, moved)
    assert TEMPLATE @ matrix[:, :2].T + matrix[:, 2] == pytest.approx(moved, abs=1e-9)
    assert matrix[0, :2] == pytest.approx([2.5 * math.cos(0.4), -2.5 * math.sin(0.4)])


def test_noisy_points_give_the_least_squared_distances_that_umeyamas_method_gives():
    transform = pytest.importorskip("skimage.transform")
    points = TEMPLATE + np.random.default_rng(3).normal(0, 4, (5, 2))
    expected = transform.SimilarityTransform.from_estimate(points, TEMPLATE).params[:2]
    assert similarity(points, TEMPLATE) == pytest.approx(expected, abs=1e-9)


def test_an_aligned_face_has_its_landmarks_where_the_template_has_them():
    points = turned(TEMPLATE, angle=-0.6, scale=1.5, shift=(40, 120))
    image = np.zeros((400, 400, 3), np.uint8)
    for x, y in points:
        cv2.circle(image, (round(x), round(y)), 4, (255, 255, 255), -1)
    crop = align(image, face(points))
    assert crop.shape == (SIDE, SIDE, 3)
    assert [int(crop[round(y), round(x), 0]) for x, y in TEMPLATE] == [255] * 5


def test_a_face_at_the_template_is_cut_out_as_it_is_and_a_larger_crop_shows_the_same():
    image = np.random.default_rng(0).integers(0, 256, (130, 121, 3), dtype=np.uint8)
    image = cv2.GaussianBlur(image, (0, 0), 4)
    assert np.array_equal(align(image, face(TEMPLATE)), image[:SIDE, :SIDE])
    larger = align(image, face(TEMPLATE), side=2 * SIDE)
    shrunk = cv2.resize(larger, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(int)
    assert abs(shrunk - image[:SIDE, :SIDE]).max() <= 2


def test_what_lies_outside_the_image_repeats_its_edge():
    image = np.full((40, 40, 3), 77, np.uint8)
    assert (align(image, face(TEMPLATE - 60)) == 77).all()


def test_a_face_without_landmarks_is_refused():
    with pytest.raises(DataError) as error:
        align(np.zeros((9, 9, 3), np.uint8), Face(0, 0, 9, 9, 1.0))
    assert (error.value.code, error.value.field) == ("field-missing", "landmarks")


@pytest.mark.parametrize("points", [[(1, 1)] * 5, [(0, 1), (math.nan, 2), (3, 3), (4, 4), (5, 9)]])
def test_landmarks_in_one_point_or_not_finite_are_refused(points):
    with pytest.raises(DataError) as error:
        align(np.zeros((9, 9, 3), np.uint8), face(points))
    assert error.value.code == "invalid"
