"""Recordings to calibrate on: synthetic ones in AVEC's layout, and video files."""

import numpy as np
import pytest

from lq_emotion.quality.settings import Reading
from lq_emotion.quality.sources import labelled_sources, video_sources
from tests.lq_emotion.commands import draw_recordings
from tests.lq_emotion.video.clips import write_clip, write_truncated
from tests.refusals import refused

pytest.importorskip("av")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return draw_recordings(tmp_path_factory.mktemp("recordings"), train=1, dev=2, frames=50, size=(160, 160))


def reading(recordings, **changes):
    return Reading(**{"boxes": recordings / "synthetic_face_boxes", **changes})


def test_recordings_for_training_are_left_out(recordings):
    assert [source.name for source in labelled_sources(recordings, ["valence"], Reading())] == ["dev_1", "dev_2"]


def test_recordings_can_be_named(recordings):
    (source,) = labelled_sources(recordings, ["valence"], Reading(), ["train_1"])
    assert source.name == "train_1"


def test_a_clip_has_frames_zero_based_boxes_and_labels_of_each_dimension(recordings):
    source = labelled_sources(recordings, ["valence", "arousal"], reading(recordings, frames=20))[0]
    clip = source.read()
    assert clip.frames.shape == (20, 160, 160, 3)
    assert clip.labels.shape == (20, 2)
    rows = np.loadtxt(recordings / "synthetic_face_boxes/dev_1.csv", delimiter=",", skiprows=1)[:20, 2:6]
    present = rows.any(axis=1)
    assert clip.boxes[present] == pytest.approx(rows[present] - [1, 1, 0, 0])
    assert np.isnan(clip.boxes[~present]).all()


def test_a_delay_shifts_the_labels_back(recordings):
    clips = [
        labelled_sources(recordings, ["valence"], reading(recordings, frames=30, delay=delay))[0].read()
        for delay in (0.0, 0.4)
    ]
    assert clips[1].labels[:15, 0] == pytest.approx(clips[0].labels[10:25, 0])


def test_an_unknown_recording_or_output_is_refused(recordings):
    with refused("name-unknown", field="names"):
        labelled_sources(recordings, ["valence"], Reading(), ["dev_9"])
    with refused("unsupported", field="model"):
        labelled_sources(recordings, ["anger"], Reading())


def test_a_changed_reading_is_another_identity(recordings):
    identities = {
        labelled_sources(recordings, ["valence"], read)[0].identity
        for read in (Reading(), Reading(frames=9), Reading(delay=0.2), reading(recordings))
    }
    assert len(identities) == 4


def test_a_video_has_no_labels(recordings):
    (source,) = video_sources([recordings / "recordings_video/dev_1.mp4"], reading(recordings, frames=8))
    clip = source.read()
    assert clip.labels is None
    assert clip.frames.shape == (8, 160, 160, 3)
    assert len(clip.boxes) == 8


def test_videos_of_one_name_are_refused(tmp_path):
    with refused("duplicate", field="recordings"):
        video_sources([tmp_path / "a/x.mp4", tmp_path / "b/x.mp4"], Reading())


def test_the_times_of_boxes_are_those_of_any_video(tmp_path):
    times = [0.0, 0.04, 0.051, 0.2]
    video = write_clip(tmp_path / "phone.mp4", [np.zeros((32, 64, 3), np.uint8)] * 4, times=times)
    rows = ["0,11,2,8,9", "0.04,12,2,8,9", "0.051,13,2,8,9", "0.051,40,2,20,20", "0.2,0,0,0,0"]
    (tmp_path / "phone.csv").write_text("\n".join(["time,left,top,width,height", *rows]))
    clip = video_sources([video], Reading(boxes=tmp_path))[0].read()
    assert clip.boxes[:3].tolist() == [[10, 1, 8, 9], [11, 1, 8, 9], [39, 1, 20, 20]]
    assert np.isnan(clip.boxes[3]).all()


def test_a_truncated_video_is_refused_only_if_its_missing_frames_are_used(tmp_path):
    path = write_truncated(tmp_path / "v.mkv")
    assert len(video_sources([path], Reading(frames=20))[0].read().frames) == 20
    with refused("damaged-file", file="v.mkv"):
        video_sources([path], Reading())[0].read()


def test_frames_that_change_size_are_refused_by_number(tmp_path):
    parts = [write_clip(tmp_path / f"{size}.ts", [np.zeros((size, size, 3), np.uint8)] * 4) for size in (32, 64)]
    video = tmp_path / "v.ts"
    video.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert video_sources([video], Reading(frames=4))[0].read().frames.shape == (4, 32, 32, 3)
    with refused("shape-mismatch", file=video, value="64 x 64", hint="--frames"):
        video_sources([video], Reading())[0].read()
