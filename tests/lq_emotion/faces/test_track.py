"""Tracking: short gaps held, outliers dropped, boxes averaged within runs of frames with the same face."""

import numpy as np
import pytest

from lq_emotion.faces import track as track_module
from lq_emotion.faces.detect import Box
from lq_emotion.faces.track import BoxSettings, find_boxes
from tests.refusals import refused
from tests.videos import write_video

STEP = 0.04


@pytest.fixture
def video(tmp_path):
    """Forty frames whose gray level encodes their number."""
    return write_video(tmp_path / "v.mkv", [np.full((40, 60, 3), 4 * k, np.uint8) for k in range(40)])


class Scripted:
    """A detector with a given box for each frame; records its calls."""

    def __init__(self, boxes):
        self.boxes, self.calls = boxes, []

    def __call__(self, gray, previous):
        assert gray.dtype == np.uint8
        assert gray.shape == (40, 60)
        frame = round((float(gray.mean()) - 16) / 219 * 255 / 4)  # luma in video range
        self.calls.append((frame, previous))
        return self.boxes.get(frame)


def counts_of(track):
    """Numbers of all frames, and of those detected, held, rejected and missing."""
    missing = int((~track.bbox.any(axis=1)).sum())
    return len(track.bbox), int(track.detected.sum()), track.held, track.rejected, missing


def track_faces(video, boxes, count=40, progress=None, **options):
    detector, times = Scripted(boxes), np.arange(count) * STEP
    return find_boxes(video, times, BoxSettings(**options), detector=detector, progress=progress), detector


def linear(frames):
    return {k: Box(100.0 + k, 50.0, 120.0, 120.0) for k in frames}


def test_a_face_in_every_frame_is_returned_as_detected(video):
    track, detector = track_faces(video, linear(range(40)), smooth=1)
    np.testing.assert_array_equal(track.bbox, list(linear(range(40)).values()))
    np.testing.assert_allclose(track.time, np.arange(40) * STEP)
    assert counts_of(track) == (40, 40, 0, 0, 0)
    assert detector.calls[3] == (3, linear([2])[2])


def test_the_last_box_is_held_in_a_gap_then_zero(video):
    track, _ = track_faces(video, linear([*range(10), *range(30, 40)]), smooth=1, hold=4)
    np.testing.assert_array_equal(track.bbox[10:14], [linear([9])[9]] * 4)
    assert not track.bbox[14:30].any()
    assert counts_of(track) == (40, 20, 4, 0, 16)
    assert track.detected.sum() == 20


def test_without_a_face_all_boxes_are_zero(video):
    track, _ = track_faces(video, {})
    assert not track.bbox.any()
    assert counts_of(track) == (40, 0, 0, 0, 40)


def test_smoothing_keeps_a_linear_track_and_damps_jitter(video):
    track, _ = track_faces(video, linear(range(40)), smooth=11)
    np.testing.assert_allclose(track.bbox, list(linear(range(40)).values()), rtol=1e-12)
    jitter = {k: Box(100.0 + 3 * (-1) ** k, 50.0, 120.0, 120.0) for k in range(40)}
    track, _ = track_faces(video, jitter, smooth=11)
    assert np.abs(track.bbox[5:35, 0] - 100).max() <= 3 / 11 + 1e-9
    assert track.bbox[0, 0] == 103  # at the end the window is the frame itself


def test_smoothing_does_not_cross_frames_without_a_face(video):
    boxes = linear(range(15)) | {k: Box(500.0, 300.0, 150.0, 150.0) for k in range(25, 40)}
    track, _ = track_faces(video, boxes, smooth=11, hold=0)
    np.testing.assert_allclose(track.bbox[:15], list(linear(range(15)).values()))
    np.testing.assert_allclose(track.bbox[25:], [[500, 300, 150, 150]] * 15)
    assert not track.bbox[15:25].any()


@pytest.mark.parametrize(
    "outlier", [Box(400.0, 50.0, 120.0, 120.0), Box(100.0, 50.0, 260.0, 260.0), Box(120.0, 70.0, 60.0, 60.0)]
)
def test_an_outlier_in_place_or_size_is_dropped(video, outlier):
    track, _ = track_faces(video, linear(range(40)) | {20: outlier}, smooth=1)
    np.testing.assert_array_equal(track.bbox[20], linear([19])[19])
    assert counts_of(track) == (40, 39, 1, 1, 0)


@pytest.mark.parametrize("every", [1, 2, 3])
def test_an_outlier_is_dropped_however_few_frames_are_inspected(video, every):
    boxes = linear(range(40)) | {18: Box(400.0, 50.0, 120.0, 120.0)}
    track, _ = track_faces(video, boxes, every=every, smooth=1)
    assert track.rejected == 1
    assert track.bbox[:, 0].max() < 140


def test_outliers_are_dropped_when_inspected_frames_are_far_apart(tmp_path):
    long = write_video(tmp_path / "long.mkv", [np.zeros((8, 8, 3), np.uint8)] * 150)
    calls = iter(range(1000))

    def detector(gray, previous):
        return Box(400.0 if next(calls) == 11 else 100.0, 50.0, 120.0, 120.0)

    track = find_boxes(long, np.arange(150) * STEP, BoxSettings(every=6, smooth=1), detector=detector)
    assert track.rejected == 1


class TwoFaces:
    """A detector of a small face in all frames and a large one from frame 10 on; it prefers the previous face."""

    small = Box(5.0, 5.0, 40.0, 40.0)

    def __init__(self, side):
        self.large, self.calls = Box(300.0, 60.0, side, side), []

    def __call__(self, gray, previous):
        frame = round((float(gray.mean()) - 16) / 219 * 255 / 4)
        self.calls.append((frame, previous is None))
        if previous is not None:
            return previous
        return self.large if frame >= 10 else self.small


@pytest.mark.parametrize(("side", "replaces"), [(150.0, True), (50.0, False)])
def test_a_much_larger_face_replaces_the_tracked_one_and_a_slightly_larger_one_does_not(
    video, monkeypatch, side, replaces
):
    monkeypatch.setattr(track_module, "_RESEARCH", 25)
    detector = TwoFaces(side)
    track = find_boxes(video, np.arange(40) * STEP, detector=detector)
    np.testing.assert_array_equal(track.bbox[:25], [detector.small] * 25)
    # not averaged across the switch
    np.testing.assert_array_equal(track.bbox[25:], [detector.large if replaces else detector.small] * 15)
    assert [frame for frame, anywhere in detector.calls if anywhere] == [0, 25]


def test_between_two_different_faces_the_first_box_is_held(video):
    boxes = linear(range(20)) | {k: Box(400.0, 60.0, 120.0, 120.0) for k in range(20, 40)}
    track, _ = track_faces(video, boxes, every=2, smooth=1)
    assert track.bbox[15:22, 0].tolist() == [115, 116, 117, 118, 118, 400, 400]
    assert track.detected[15:22].tolist() == [True, True, True, True, False, True, True]


def test_a_face_that_moves_for_good_is_followed(video):
    boxes = linear(range(20)) | {k: Box(400.0, 60.0, 120.0, 120.0) for k in range(20, 40)}
    track, _ = track_faces(video, boxes, smooth=1)
    np.testing.assert_array_equal(track.bbox[25:], [[400, 60, 120, 120]] * 15)


def test_every_third_frame_is_inspected_and_the_others_are_interpolated(video):
    track, detector = track_faces(video, linear(range(40)), every=3, smooth=1)
    assert [frame for frame, _ in detector.calls] == [*range(0, 40, 3)]
    np.testing.assert_allclose(track.bbox, list(linear(range(40)).values()))
    track, detector = track_faces(video, linear([*range(10), *range(30, 40)]), every=4, smooth=1, hold=0, count=39)
    assert [frame for frame, _ in detector.calls] == [*range(0, 39, 4), 38]
    assert np.flatnonzero(track.bbox[:, 2]).tolist() == [*range(9), *range(32, 39)]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"every": 0}, "out-of-range"),
        ({"hold": -1}, "out-of-range"),
        ({"smooth": 4}, "invalid"),
        ({"smooth": 0}, "out-of-range"),
    ],
)
def test_invalid_options_are_refused(options, code):
    ((field, value),) = options.items()
    with refused(code, field=f"--{field}", value=value):
        BoxSettings(**options)


def test_a_video_with_fewer_frames_than_times_is_refused(video):
    with refused("wrong-count", file="v.mkv"):
        track_faces(video, {}, count=50)


def test_progress_counts_every_frame(video):
    counts = []
    track_faces(video, {}, every=3, progress=counts.append)
    assert sum(counts) == 40
