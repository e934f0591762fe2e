"""Drawn faces: found by the cascade, their expression follows valence, and small pictures lose what tells it."""

import cv2
import numpy as np
import pytest

from lq_emotion.datasets.synthetic.face import Expression, Pose, Scene, draw_features
from lq_emotion.datasets.synthetic.person import make_person
from lq_emotion.datasets.synthetic.signals import BEHIND, GONE, HAND, SEEN, make_course, rate
from lq_emotion.faces.detect import Cascade
from lq_emotion.metrics.regression import ccc
from matlab_ports import imresize

CALM = Expression(0.0, 0.0, 0.0, (0.0, 0.0))


@pytest.fixture(scope="module")
def people():
    return [make_person(np.random.default_rng(seed)) for seed in range(8)]


def test_the_cascade_finds_the_faces_where_they_are_and_none_where_nobody_looks_at_it(people):
    cascade, found, count = Cascade(), 0, 0
    for seed, person in enumerate(people):
        rng = np.random.default_rng(seed)
        scene, course = Scene(person, rng, (480, 480)), make_course(rng, 40)
        for tick in range(0, 40, 10):
            pose = Pose(*course.place[tick])
            shown = Expression(course.valence[tick], course.talk[tick], course.blink[tick], tuple(course.gaze[tick]))
            frame = scene.draw(shown, pose, tuple(course.light[tick]), away=SEEN)
            assert frame.shape == (480, 480, 3)
            assert frame.dtype == np.uint8
            box, true = cascade(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)), scene.box(pose)
            count += 1
            if box is not None:
                found += 1
                assert min(box.width, true[2]) > 100
                assert abs(box.left + box.width / 2 - true[0] - true[2] / 2) < 0.1 * true[2]
                assert abs(box.top + box.height / 2 - true[1] - true[3] / 2) < 0.1 * true[2]
        for why in (BEHIND, HAND, GONE):
            hidden = scene.draw(CALM, Pose(0, 0, 1, 0), (1.0, 0.0), away=why)
            assert cascade(cv2.cvtColor(hidden, cv2.COLOR_RGB2GRAY)) is None
    assert found >= 0.9 * count


def test_valence_moves_the_corners_of_the_mouth_and_no_two_people_are_alike(people):
    for person in people:
        low, high = (draw_features(person, CALM._replace(valence=v)).astype(int) for v in (-1, 1))
        changed = np.abs(low - high).sum(axis=2) > 60
        assert 0.005 < changed.mean() < 0.08
        assert changed[200:].any()  # mouth
        assert changed[:160].any()  # brows and eyes
    one, two = (draw_features(person, CALM).astype(int) for person in people[:2])
    assert (np.abs(one - two).sum(axis=2) > 30).mean() > 0.2


def test_small_pictures_lose_the_expression(people):
    kept = []
    for scale in (3, 6, 12):
        difference = []
        for person in people:
            low, high = (
                cv2.cvtColor(draw_features(person, CALM._replace(valence=v)), cv2.COLOR_RGB2GRAY) for v in (-0.5, 0.5)
            )
            faces = imresize(np.stack([low, high]).astype(float)[:, 54:275, 50:271], (96, 96), axes=(1, 2))
            again = imresize(imresize(faces, 1 / scale, axes=(1, 2)), (96, 96), axes=(1, 2))
            difference.append(np.std(again[1] - again[0]) / np.std(faces[1] - faces[0]))
        kept.append(np.mean(difference))
    assert kept[0] > kept[1] > kept[2]
    assert kept[0] > 0.5
    assert kept[2] < 0.15


def test_a_course_is_a_smooth_trace_with_moments_without_a_face_and_missing_frames():
    course = make_course(np.random.default_rng(0), 7500)
    assert np.abs(course.valence).max() <= 1
    assert 0.3 < course.valence.std() < 0.7
    assert np.abs(np.diff(course.valence)).max() < 0.2
    assert 0.002 < course.dropped.mean() < 0.008
    assert not course.dropped[0]
    assert 0.005 < (course.away != SEEN).mean() < 0.1
    assert set(make_course(np.random.default_rng(1), 30000).away) == {SEEN, BEHIND, HAND, GONE}
    assert abs(np.corrcoef(course.valence, course.talk)[0, 1]) < 0.1


def test_raters_follow_the_trace_late_and_each_in_a_way_of_his_own():
    rng = np.random.default_rng(0)
    valence = make_course(rng, 3000).valence
    ratings = rate(rng, valence, lag=0.4)
    assert ratings.shape == (3000, 6)
    assert np.array_equal(ratings, np.round(ratings, 2))
    agreement = [ccc(ratings[:, k], valence, convention="sample") for k in range(6)]
    assert all(0.5 < value < 0.98 for value in agreement)
    assert len(set(np.round(agreement, 4))) == 6
    mean = ratings.mean(axis=1)
    assert np.corrcoef(mean[10:], valence[:-10])[0, 1] > np.corrcoef(mean, valence)[0, 1]
