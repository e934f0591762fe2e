"""Frames of clips at a constant rate: those that are shown at these times."""

import cv2
import numpy as np
import pytest

from lq_emotion.datasets.clips.table import Clip, frames_of
from tests.lq_emotion.datasets.clips.drawn import LOSSLESS
from tests.refusals import refused
from tests.videos import write_video

pytest.importorskip("av", reason="needs PyAV (the extra `video`)")


def clip(file, start=0.0, end=np.inf):
    return Clip("clip", file, "a", start, end, "train", None, {}, row=None)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """30 frames in 2 s, 15 a second; frame k has the value 8 k."""
    frames = np.repeat(np.arange(30, dtype=np.uint8) * 8, 32 * 32 * 3).reshape(30, 32, 32, 3)
    return write_video(tmp_path_factory.mktemp("video") / "a.mp4", frames, rate=15, **LOSSLESS)


def numbers(samples):
    return [int(image[0, 0, 0]) // 8 for _, image in samples]


def test_a_video_is_sampled_at_the_frames_shown(video):
    samples = list(frames_of(clip(video), 5))
    assert [round(time, 3) for time, _ in samples] == [0, 0.2, 0.4, 0.6, 0.8, 1, 1.2, 1.4, 1.6, 1.8]
    assert numbers(samples) == [0, 3, 6, 9, 12, 15, 18, 21, 24, 27]


@pytest.mark.parametrize(("rate", "end", "expected"), [(15, np.inf, [*range(30)]), (30, 0.2, [0, 0, 1, 1, 2, 2])])
def test_at_the_rate_of_the_video_each_frame_comes_once_and_at_a_higher_one_frames_repeat(video, rate, end, expected):
    assert numbers(frames_of(clip(video, 0.0, end), rate)) == expected


def test_start_and_end_cut_a_part_out(video):
    samples = list(frames_of(clip(video, 1.0, 1.5), 10))
    assert [round(time, 3) for time, _ in samples] == [1, 1.1, 1.2, 1.3, 1.4]
    assert numbers(samples) == [15, 16, 18, 19, 21]


def test_a_picture_is_one_frame(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((5, 7, 3), (1, 2, 3), np.uint8))
    [(time, image)] = frames_of(clip(tmp_path / "a.png"), 5)
    assert (time, image.shape, image[0, 0].tolist()) == (0.0, (5, 7, 3), [3, 2, 1])


def test_what_cannot_be_read_is_refused(video, tmp_path):
    with refused("out-of-range", field="start", value=3.0):
        list(frames_of(clip(video, 3.0), 5))
    for name in ("a.mp4", "a.png"):
        (tmp_path / name).write_text("no pictures")
        with refused("damaged-file", file=name):
            list(frames_of(clip(tmp_path / name), 5))
