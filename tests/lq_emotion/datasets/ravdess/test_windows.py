"""Windows of 30 frames at 30, 15 and 5 frames per second."""

import numpy as np
import pytest

from lq_emotion.datasets.ravdess.windows import Window, window_frames
from lq_emotion.video.frames import thin
from tests.refusals import refused


def frames_at(times, fps):
    return [index for index, keep in enumerate(map(thin(fps), times)) if keep]


def test_windows_of_a_long_clip():
    assert window_frames(110, Window.START).tolist() == list(range(30))
    assert window_frames(110, Window.CENTRE).tolist() == list(range(40, 70))
    uniform = window_frames(110, Window.UNIFORM)
    assert (uniform[0], uniform[-1]) == (1, 108)
    assert set(np.diff(uniform).tolist()) == {3, 4}


def test_a_short_clip_begins_again_or_shows_frames_several_times():
    assert window_frames(12, Window.START).tolist() == [*range(12), *range(12), *range(6)]
    assert window_frames(12, Window.CENTRE).tolist() == window_frames(12, Window.START).tolist()
    assert window_frames(3, Window.UNIFORM, length=6).tolist() == [0, 0, 1, 1, 2, 2]
    assert window_frames(30, Window.UNIFORM).tolist() == list(range(30))


@pytest.mark.parametrize(("fps", "count"), [(30, 120), (15, 60), (5, 20), (None, 120)])
def test_frames_are_left_out_by_their_times(fps, count):
    times = np.arange(120) * 1001 / 30000  # 29.97 frames per second
    frames = frames_at(times, fps)
    assert len(frames) in (count, count + 1)
    if fps in (15, 5):
        assert np.isin(np.diff(frames), (30 // fps, 30 // fps + 1, 30 // fps - 1)).all()


def test_gaps_in_the_times_are_not_filled():
    assert frames_at([0, 0.033, 0.067, 0.5, 0.533, 0.567], 15) == [0, 2, 3, 5]


def test_refusals():
    with refused("out-of-range", field="count", value=0):
        window_frames(0, Window.START)
    with refused("out-of-range", field="fps", value=0):
        frames_at([0.0], 0)
