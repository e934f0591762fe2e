"""Ids of faces through misses, crossings and cuts, on drawn faces with known boxes."""

import cv2
import numpy as np
import pytest

from lq_emotion.datasets.synthetic.face import Expression, draw_features
from lq_emotion.datasets.synthetic.person import make_person
from lq_emotion.faces.face import Face
from lq_emotion.faces.identities import Identities
from tests.refusals import refused

WALL = np.random.default_rng(1).integers(90, 110, (180, 320, 3), dtype=np.uint8)
STREET = np.random.default_rng(2).integers(180, 240, (180, 320, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def people():
    """Five drawn faces, (40, 40, 3)."""
    rng = np.random.default_rng(7)
    drawn = [draw_features(make_person(rng), Expression(0.2, 0.0, 0.0, (0.0, 0.0))) for _ in range(5)]
    inner = [head[head.shape[0] // 4 : -head.shape[0] // 4, head.shape[1] // 4 : -head.shape[1] // 4] for head in drawn]
    return [cv2.resize(head, (40, 40), interpolation=cv2.INTER_AREA) for head in inner]


def frame(people, places, wall=WALL):
    """Draw people (by number) at places (left, top), the later ones in front."""
    image = wall.copy()
    for person, (x, y) in places.items():
        left, top = max(x, 0), max(y, 0)
        part = people[person][top - y : 180 - y, left - x : 320 - x]
        image[top : top + part.shape[0], left : left + part.shape[1]] = part
    return image


def face(x, y, side=40):
    return Face(x, y, side, side, 0.9)


def follow(identities, people, places, wall=WALL, missed=()):
    """Return id -> (left, detected) of the next frame."""
    faces = [face(*place) for person, place in places.items() if person not in missed]
    followed = identities.update(faces, frame(people, places, wall))
    assert [one.id for one in followed] == sorted(one.id for one in followed)
    return {one.id: (one.face.x, one.detected) for one in followed}


def test_faces_have_ids_from_1_and_keep_them_whatever_the_order_of_the_detections(people):
    identities = Identities()
    image = frame(people, {0: (20, 20), 1: (200, 60)})
    first = identities.update([face(20, 20), face(200, 60)], image)
    second = identities.update([face(203, 61), face(22, 19)], image)
    assert [(one.id, one.face.x) for one in first] == [(1, 20), (2, 200)]
    assert [(one.id, one.face.x) for one in second] == [(1, 22), (2, 203)]


def test_four_faces_that_cross_keep_their_ids(people):
    identities = Identities(hold=20)
    for step in range(61):
        places = {0: (10 + 4 * step, 60), 1: (250 - 4 * step, 66), 2: (130, 4 + 2 * step), 3: (60 + step, 120)}
        hidden = [
            person
            for person, (x, y) in places.items()
            if any(abs(x - a) < 24 and abs(y - b) < 24 for other, (a, b) in places.items() if other > person)
        ]
        followed = follow(identities, people, places, missed=hidden)
        for person, (x, _) in places.items():
            assert followed[person + 1] == (x, True) or person in hidden
        assert set(followed) == {1, 2, 3, 4}


def test_a_missed_face_is_held_where_it_was_and_marked(people):
    identities = Identities(hold=2)
    places = {0: (20, 20), 1: (200, 60)}
    follow(identities, people, places)
    assert follow(identities, people, places, missed=[0]) == {1: (20, False), 2: (200, True)}
    assert follow(identities, people, places, missed=[0]) == {1: (20, False), 2: (200, True)}
    assert follow(identities, people, places, missed=[0]) == {2: (200, True)}
    assert follow(identities, people, places) == {1: (20, True), 2: (200, True)}


def test_a_moving_face_is_found_again_after_a_miss_where_its_step_brings_it(people):
    identities = Identities()
    for step in range(10):
        follow(identities, people, {0: (10 + 8 * step, 20)})
    for step in range(10, 15):
        follow(identities, people, {0: (10 + 8 * step, 20)}, missed=[0])
    assert follow(identities, people, {0: (130, 20)}) == {1: (130, True)}


def test_another_face_at_the_place_of_a_lost_one_has_a_new_id_and_the_old_one_comes_back_to_its_own(people):
    identities = Identities(hold=0)
    assert follow(identities, people, {0: (20, 20)}) == {1: (20, True)}
    assert follow(identities, people, {0: (20, 20)}, missed=[0]) == {}
    assert list(follow(identities, people, {2: (22, 20)})) == [2]
    assert follow(identities, people, {2: (20, 20)}, missed=[2]) == {}
    assert list(follow(identities, people, {0: (24, 22)})) == [1]


def test_no_face_is_held_across_a_cut_and_the_same_face_in_the_same_place_returns_after_it(people):
    identities = Identities()
    assert follow(identities, people, {0: (20, 20)}) == {1: (20, True)}
    assert follow(identities, people, {}, STREET) == {}
    assert list(follow(identities, people, {2: (20, 20)}, WALL)) == [2]
    assert follow(identities, people, {}, STREET) == {}
    assert list(follow(identities, people, {0: (26, 16)}, WALL)) == [1]


def test_a_face_elsewhere_or_of_another_size_after_a_cut_has_a_new_id(people):
    identities = Identities()
    follow(identities, people, {0: (20, 20)})
    assert list(follow(identities, people, {0: (220, 20)}, STREET)) == [2]
    image = frame(people, {0: (220, 20)})
    assert [one.id for one in identities.update([face(220, 20, 100)], image)] == [3]


def test_a_camera_that_pans_and_a_light_that_changes_are_no_cuts(people):
    identities = Identities()
    wide = np.repeat(np.linspace(40, 200, 420).astype(np.uint8)[None, :, None], 180, axis=0).repeat(3, axis=2)
    for step in range(40):
        wall = cv2.convertScaleAbs(wide[:, 2 * step : 2 * step + 320], alpha=1 - step / 100)
        assert follow(identities, people, {0: (200 - 2 * step, 20)}, wall) == {1: (200 - 2 * step, True)}


def test_a_face_partly_or_wholly_outside_the_frame_is_followed(people):
    identities = Identities()
    for step in range(30):
        assert follow(identities, people, {0: (100 - 5 * step, 20)}) == {1: (100 - 5 * step, True)}


def test_memory_of_lost_faces_is_bounded(people):
    identities = Identities(hold=0)
    for step in range(300):
        identities.update([face(7 * step % 280, 20)] if step % 2 else [], STREET if step % 4 < 2 else WALL)
    assert len(identities._lost) <= 64


def test_frames_that_change_their_size_are_followed(people):
    identities = Identities()
    image = frame(people, {0: (20, 20)})
    identities.update([face(20, 20)], image)
    assert [one.id for one in identities.update([face(21, 20)], image[:179, :319])] == [1]


def test_a_negative_hold_is_refused():
    with refused("out-of-range", field="hold"):
        Identities(hold=-1)
