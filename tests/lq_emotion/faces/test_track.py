"""The face over time: gaps held for a while, outliers left out, boxes averaged over frames that have one."""

import numpy as np
import pytest

from caffe_compat.errors import DataError
from lq_emotion.faces import track as track_module
from lq_emotion.faces.detect import Box
from lq_emotion.faces.track import find_boxes
from tests.matlab_ports.videos import write_video

STEP = 0.04


@pytest.fixture
def video(tmp_path):
    """Forty frames whose gray level is their number."""
    return write_video(tmp_path / "v.mkv", [np.full((40, 60, 3), 4 * k, np.uint8) for k in range(40)])


class Scripted:
    """A detector that knows where the face is in each frame, and notes what it was asked."""

    def __init__(self, boxes):
        self.boxes, self.asked = boxes, []

    def __call__(self, gray, before):
        assert gray.dtype == np.uint8
        assert gray.shape == (40, 60)
        frame = round((float(gray.mean()) - 16) / 219 * 255 / 4)  # luma in video range
        self.asked.append((frame, before))
        return self.boxes.get(frame)


def found(video, boxes, count=40, **options):
    detector = Scripted(boxes)
    return find_boxes(video, np.arange(count) * STEP, detector=detector, **options), detector


def straight(frames):
    return {k: Box(100.0 + k, 50.0, 120.0, 120.0) for k in frames}


def test_a_face_in_every_frame_is_returned_as_it_was_found(video):
    track, detector = found(video, straight(range(40)), smooth=1)
    np.testing.assert_array_equal(track.bbox, list(straight(range(40)).values()))
    np.testing.assert_allclose(track.time, np.arange(40) * STEP)
    assert track.report == (40, 40, 0, 0, 0)
    assert detector.asked[3] == (3, straight([2])[2])


def test_a_gap_is_held_for_a_while_then_zero(video):
    track, _ = found(video, straight([*range(10), *range(30, 40)]), smooth=1, hold=4)
    np.testing.assert_array_equal(track.bbox[10:14], [straight([9])[9]] * 4)
    assert not track.bbox[14:30].any()
    assert track.report == (40, 20, 4, 0, 16)
    assert track.detected.sum() == 20


def test_without_any_face_all_rows_are_zero(video):
    track, _ = found(video, {})
    assert not track.bbox.any()
    assert track.report == (40, 0, 0, 0, 40)


def test_a_straight_track_stays_where_it_is_when_smoothed_and_a_trembling_one_calms(video):
    track, _ = found(video, straight(range(40)), smooth=11)
    np.testing.assert_allclose(track.bbox, list(straight(range(40)).values()), rtol=1e-12)
    trembling = {k: Box(100.0 + 3 * (-1) ** k, 50.0, 120.0, 120.0) for k in range(40)}
    track, _ = found(video, trembling, smooth=11)
    assert np.abs(track.bbox[5:35, 0] - 100).max() <= 3 / 11 + 1e-9
    assert track.bbox[0, 0] == 103  # the window shrinks to the frame itself at the end


def test_smoothing_does_not_reach_over_frames_without_a_face(video):
    boxes = straight(range(15)) | {k: Box(500.0, 300.0, 150.0, 150.0) for k in range(25, 40)}
    track, _ = found(video, boxes, smooth=11, hold=0)
    np.testing.assert_allclose(track.bbox[:15], list(straight(range(15)).values()))
    np.testing.assert_allclose(track.bbox[25:], [[500, 300, 150, 150]] * 15)
    assert not track.bbox[15:25].any()


@pytest.mark.parametrize(
    "wrong", [Box(400.0, 50.0, 120.0, 120.0), Box(100.0, 50.0, 260.0, 260.0), Box(120.0, 70.0, 60.0, 60.0)]
)
def test_one_detection_far_off_or_of_another_size_is_left_out(video, wrong):
    track, _ = found(video, straight(range(40)) | {20: wrong}, smooth=1)
    np.testing.assert_array_equal(track.bbox[20], straight([19])[19])
    assert track.report == (40, 39, 1, 1, 0)


@pytest.mark.parametrize("every", [1, 2, 3])
def test_one_detection_far_off_is_left_out_however_few_frames_are_looked_into(video, every):
    boxes = straight(range(40)) | {18: Box(400.0, 50.0, 120.0, 120.0)}
    track, _ = found(video, boxes, every=every, smooth=1)
    assert track.report.rejected == 1
    assert track.bbox[:, 0].max() < 140


def test_distance_between_looks_does_not_switch_off_the_search_for_outliers(tmp_path):
    long = write_video(tmp_path / "long.mkv", [np.zeros((8, 8, 3), np.uint8)] * 150)
    looks = iter(range(1000))

    def detector(gray, before):
        return Box(400.0 if next(looks) == 11 else 100.0, 50.0, 120.0, 120.0)

    track = find_boxes(long, np.arange(150) * STEP, every=6, smooth=1, detector=detector)
    assert track.report.rejected == 1


class TwoFaces:
    """A small face that is always there and a large one from frame 10 on; the one before is found again first."""

    small, large = Box(5.0, 5.0, 40.0, 40.0), Box(300.0, 60.0, 150.0, 150.0)

    def __init__(self):
        self.looks = []

    def __call__(self, gray, before):
        frame = round((float(gray.mean()) - 16) / 219 * 255 / 4)
        self.looks.append((frame, before is None))
        if before is not None:
            return before
        return self.large if frame >= 10 else self.small


def test_a_portrait_on_the_wall_is_given_up_for_a_much_larger_face(video, monkeypatch):
    monkeypatch.setattr(track_module, "_AGAIN", 25)
    detector = TwoFaces()
    track = find_boxes(video, np.arange(40) * STEP, detector=detector)
    np.testing.assert_array_equal(track.bbox[:25], [TwoFaces.small] * 25)
    np.testing.assert_array_equal(track.bbox[25:], [TwoFaces.large] * 15)  # nor are the two averaged
    assert [frame for frame, anywhere in detector.looks if anywhere] == [0, 25]


def test_a_face_a_little_larger_does_not_take_the_place_of_the_one_followed(video, monkeypatch):
    monkeypatch.setattr(track_module, "_AGAIN", 25)
    detector = TwoFaces()
    detector.large = Box(300.0, 60.0, 50.0, 50.0)
    track = find_boxes(video, np.arange(40) * STEP, detector=detector)
    np.testing.assert_array_equal(track.bbox, [TwoFaces.small] * 40)


def test_between_two_looks_at_different_faces_the_first_one_is_held(video):
    boxes = straight(range(20)) | {k: Box(400.0, 60.0, 120.0, 120.0) for k in range(20, 40)}
    track, _ = found(video, boxes, every=2, smooth=1)
    assert track.bbox[15:22, 0].tolist() == [115, 116, 117, 118, 118, 400, 400]
    assert track.detected[15:22].tolist() == [True, True, True, True, False, True, True]


def test_a_face_that_moves_for_good_is_followed(video):
    boxes = straight(range(20)) | {k: Box(400.0, 60.0, 120.0, 120.0) for k in range(20, 40)}
    track, _ = found(video, boxes, smooth=1)
    np.testing.assert_array_equal(track.bbox[25:], [[400, 60, 120, 120]] * 15)


def test_every_third_frame_is_looked_into_and_the_others_lie_between(video):
    track, detector = found(video, straight(range(40)), every=3, smooth=1)
    assert [frame for frame, _ in detector.asked] == [*range(0, 40, 3)]
    np.testing.assert_allclose(track.bbox, list(straight(range(40)).values()))
    track, detector = found(video, straight([*range(10), *range(30, 40)]), every=4, smooth=1, hold=0, count=39)
    assert [frame for frame, _ in detector.asked] == [*range(0, 39, 4), 38]
    assert np.flatnonzero(track.bbox[:, 2]).tolist() == [*range(9), *range(32, 39)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every = 0"),
        ({"hold": -1}, "hold = -1"),
        ({"smooth": 4}, "smooth = 4: is no odd number"),
        ({"smooth": 0}, "smooth = 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(video, options, message):
    with pytest.raises(DataError, match=message):
        found(video, {}, **options)


def test_a_video_with_fewer_frames_than_times_is_refused(video):
    with pytest.raises(DataError, match=r"v\.mkv: has 40 frames, its table of times 50 rows"):
        found(video, {}, count=50)


def test_progress_counts_every_frame(video):
    counted = []
    found(video, {}, every=3, progress=counted.append)
    assert sum(counted) == 40
