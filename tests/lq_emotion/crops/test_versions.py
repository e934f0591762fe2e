"""Versions of clips: sizes, rates, bits and mapped boxes."""

import numpy as np
import pytest

from lq_emotion.crops import versions as module
from lq_emotion.crops.versions import Version, clip_boxes, crop_version, read_clip
from lq_emotion.datasets.synthetic.ravdess_tree import RavdessTreeSettings, write_clip
from lq_emotion.faces.boxfiles import TrackedBoxes
from tests.refusals import refused

pytest.importorskip("av", reason="needs PyAV (the extra `video`)")
SMALL = {"side": 48}


def test_boxes_are_mapped_to_the_size_of_the_version():
    frames = np.zeros((6, 120, 160, 3), np.uint8)
    frames[:, 40:80, 60:100] = (10, 200, 90)
    boxes, times = np.tile([61.0, 41.0, 40.0, 40.0], (6, 1)), np.arange(6) / 30
    for size in ((160, 120), (80, 60)):
        crops = crop_version(frames, times, boxes, Version(*size, 15), **SMALL)
        assert crops.frames.shape == (3, 48, 48, 3)
        assert np.isnan(crops.bits).all()
        assert (crops.frames[:, 4:-4, 4:-4] == (10, 200, 90)).all()
        np.testing.assert_allclose(crops.times, [0, 2 / 30, 4 / 30])
    grown = crop_version(frames, times, boxes, Version(160, 120, 15), **SMALL, grow=1.0)
    assert (grown.frames[:, 14:-14, 14:-14] == (10, 200, 90)).all()
    assert (grown.frames[:, :10] == 0).all()


def test_coded_versions_state_their_bits():
    frames = np.random.default_rng(0).integers(0, 255, (4, 48, 64, 3), dtype=np.uint8)
    boxes, times = np.tile([1.0, 1, 48, 48], (4, 1)), np.arange(4) / 30
    few, many = (crop_version(frames, times, boxes, Version(64, 48, 30, qp), **SMALL).bits.sum() for qp in (45, 20))
    assert 0 < 2 * few < many


def test_a_clip_is_read_and_its_face_found(tmp_path):
    settings = RavdessTreeSettings(out=tmp_path, actors=1, size=(320, 240), seconds=0.4)
    frames, times = read_clip(clip := tmp_path / write_clip(settings, settings.files[0]))
    boxes = clip_boxes(clip, times).bbox
    assert (frames.shape[1:], frames.dtype) == ((240, 320, 3), np.uint8)
    assert len(frames) == len(times) == len(boxes) >= 10
    crops = crop_version(frames, times, boxes, Version(160, 120, 15, 30), **SMALL)
    assert crops.frames.shape == (len(crops.bits), 48, 48, 3)
    assert len(crops.bits) == -(-len(frames) // 2)
    assert crops.frames.std() > 20  # a face


def test_frames_without_a_face_have_the_box_of_the_nearest_with_one(monkeypatch):
    found = np.zeros((5, 4))
    found[1], found[4] = 7, 9
    monkeypatch.setattr(module, "find_boxes", lambda _, times: TrackedBoxes(found, times, found.any(axis=1)))
    boxes = clip_boxes("clip.mp4", np.arange(5) / 30)
    np.testing.assert_array_equal(boxes.bbox[:, 0], [7, 7, 7, 9, 9])
    np.testing.assert_array_equal(boxes.detected, [False, True, False, False, True])
    found[:] = 0
    with refused("empty", file="clip.mp4"):
        clip_boxes("clip.mp4", np.arange(5) / 30)


def test_versions_have_names_and_limits():
    version = Version(640, 360, 5, 32)
    names = [version.name, Version(480, 360, 5).name, Version(256, 144, 15).name]
    assert names == ["360p5_x264_qp32", "480x360p5", "144p15"]
    assert Version.from_json(version.to_json()) == version
    with refused("out-of-range", field="qp", value=60):
        Version(64, 48, 30, 60)
