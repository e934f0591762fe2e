"""Drawn faces: detected by the cascade, expressive of valence, and hard to read at low resolution."""

import cv2
import numpy as np
import pytest

from lq_emotion.datasets.synthetic.face import Expression, Pose, Scene, draw_features
from lq_emotion.datasets.synthetic.person import make_person
from lq_emotion.datasets.synthetic.signals import ABSENT, BEHIND, HAND, VISIBLE, simulate_ratings, simulate_signals
from lq_emotion.faces.detect import Cascade
from lq_emotion.metrics.regression import ccc
from matlab_ports import imresize

CALM = Expression(0.0, 0.0, 0.0, (0.0, 0.0))


@pytest.fixture(scope="module")
def people():
    return [make_person(np.random.default_rng(seed)) for seed in range(8)]


def test_the_cascade_detects_visible_faces_in_their_place_and_no_others(people):
    cascade, detected, count = Cascade(), 0, 0
    for seed, person in enumerate(people):
        rng = np.random.default_rng(seed)
        scene, signals = Scene(person, rng, (480, 480)), simulate_signals(rng, 40)
        for tick in range(0, 40, 10):
            pose = Pose(*signals.pose[tick])
            expression = Expression(
                signals.valence[tick], signals.talk[tick], signals.blink[tick], tuple(signals.gaze[tick])
            )
            frame = scene.draw(expression, pose, tuple(signals.light[tick]), occlusion=VISIBLE)
            assert frame.shape == (480, 480, 3)
            assert frame.dtype == np.uint8
            box, true = cascade(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)), scene.box(pose)
            count += 1
            if box is not None:
                detected += 1
                assert min(box.width, true[2]) > 100
                assert abs(box.left + box.width / 2 - true[0] - true[2] / 2) < 0.1 * true[2]
                assert abs(box.top + box.height / 2 - true[1] - true[3] / 2) < 0.1 * true[2]
        for occlusion in (BEHIND, HAND, ABSENT):
            hidden = scene.draw(CALM, Pose(0, 0, 1, 0), (1.0, 0.0), occlusion=occlusion)
            assert cascade(cv2.cvtColor(hidden, cv2.COLOR_RGB2GRAY)) is None
    assert detected >= 0.9 * count


def test_valence_changes_mouth_and_eyes_and_people_differ(people):
    for person in people:
        low, high = (draw_features(person, CALM._replace(valence=v)).astype(int) for v in (-1, 1))
        changed = np.abs(low - high).sum(axis=2) > 60
        assert 0.005 < changed.mean() < 0.08
        assert changed[200:].any()  # mouth
        assert changed[:160].any()  # brows and eyes
    first, second = (draw_features(person, CALM).astype(int) for person in people[:2])
    assert (np.abs(first - second).sum(axis=2) > 30).mean() > 0.2


def test_downsampling_removes_the_expression(people):
    remaining = []
    for scale in (3, 6, 12):
        difference = []
        for person in people:
            low, high = (
                cv2.cvtColor(draw_features(person, CALM._replace(valence=v)), cv2.COLOR_RGB2GRAY) for v in (-0.5, 0.5)
            )
            faces = imresize(np.stack([low, high]).astype(float)[:, 54:275, 50:271], (96, 96), axes=(1, 2))
            again = imresize(imresize(faces, 1 / scale, axes=(1, 2)), (96, 96), axes=(1, 2))
            difference.append(np.std(again[1] - again[0]) / np.std(faces[1] - faces[0]))
        remaining.append(np.mean(difference))
    assert remaining[0] > remaining[1] > remaining[2]
    assert remaining[0] > 0.5
    assert remaining[2] < 0.15


def test_signals_are_smooth_with_occlusions_and_dropped_frames():
    signals = simulate_signals(np.random.default_rng(0), 7500)
    assert np.abs(signals.valence).max() <= 1
    assert 0.3 < signals.valence.std() < 0.7
    assert np.abs(np.diff(signals.valence)).max() < 0.2
    assert 0.002 < signals.dropped.mean() < 0.008
    assert not signals.dropped[0]
    assert 0.005 < (signals.occlusion != VISIBLE).mean() < 0.1
    assert set(simulate_signals(np.random.default_rng(1), 30000).occlusion) == {VISIBLE, BEHIND, HAND, ABSENT}
    assert abs(np.corrcoef(signals.valence, signals.talk)[0, 1]) < 0.1


def test_raters_follow_the_trace_with_a_delay_and_differ():
    rng = np.random.default_rng(0)
    valence = simulate_signals(rng, 3000).valence
    ratings = simulate_ratings(rng, valence, lag=0.4)
    assert ratings.shape == (3000, 6)
    assert np.array_equal(ratings, np.round(ratings, 2))
    agreement = [ccc(ratings[:, k], valence, convention="sample") for k in range(6)]
    assert all(0.5 < value < 0.98 for value in agreement)
    assert len(set(np.round(agreement, 4))) == 6
    mean = ratings.mean(axis=1)
    assert np.corrcoef(mean[10:], valence[:-10])[0, 1] > np.corrcoef(mean, valence)[0, 1]
