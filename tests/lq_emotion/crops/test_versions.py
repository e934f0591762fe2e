"""Versions of clips: sizes, rates, bits, mapped boxes, and what is not made again."""

import numpy as np
import pytest

from lq_emotion.crops import versions as module
from lq_emotion.crops.versions import (
    CropSettings,
    Version,
    crop_version,
    crops_path,
    make_versions,
    nine_versions,
    read_crops,
)
from lq_emotion.datasets.synthetic.ravdess_tree import RavdessTreeSettings, write_clip
from tests.lq_emotion.commands import quiet
from tests.refusals import refused

pytest.importorskip("av", reason="needs PyAV (the extra `video`)")
SMALL = CropSettings(side=48)


def test_the_nine_versions_of_the_paper():
    assert [version.name for version in nine_versions()] == [f"{p}p{f}" for p in (720, 360, 144) for f in (30, 15, 5)]
    assert nine_versions(qp=32)[5].name == "360p5_x264_qp32"
    assert Version.from_json(nine_versions(qp=32)[5].to_json()) == nine_versions(qp=32)[5]


def test_boxes_are_mapped_to_the_size_of_the_version():
    frames = np.zeros((6, 120, 160, 3), np.uint8)
    frames[:, 40:80, 60:100] = (10, 200, 90)
    boxes, times = np.tile([61.0, 41.0, 40.0, 40.0], (6, 1)), np.arange(6) / 30
    for size in ((160, 120), (80, 60)):
        crops = crop_version(frames, times, boxes, Version(*size, 15), SMALL)
        assert crops.frames.shape == (3, 48, 48, 3)
        assert np.isnan(crops.bits).all()
        assert (crops.frames[:, 4:-4, 4:-4] == (10, 200, 90)).all()
        np.testing.assert_allclose(crops.times, [0, 2 / 30, 4 / 30])
    grown = crop_version(frames, times, boxes, Version(160, 120, 15), CropSettings(48, grow=1.0))
    assert (grown.frames[:, 14:-14, 14:-14] == (10, 200, 90)).all()
    assert (grown.frames[:, :10] == 0).all()


def test_coded_versions_state_their_bits():
    frames = np.random.default_rng(0).integers(0, 255, (4, 48, 64, 3), dtype=np.uint8)
    boxes, times = np.tile([1.0, 1, 48, 48], (4, 1)), np.arange(4) / 30
    few, many = (crop_version(frames, times, boxes, Version(64, 48, 30, qp), SMALL).bits.sum() for qp in (45, 20))
    assert 0 < 2 * few < many


def test_files_are_made_once_and_again_where_they_are_missing(tmp_path, monkeypatch):
    settings = RavdessTreeSettings(actors=1, width=320, height=240, seconds=0.4)
    clip = tmp_path / write_clip(tmp_path, settings, settings.files[0])
    chosen = (Version(320, 240, 30), Version(160, 120, 15, 30))
    make_versions([clip], tmp_path / "out", chosen, SMALL, say=quiet)
    crops = read_crops(crops_path(tmp_path / "out", chosen[1], clip.stem))
    assert crops.frames.shape[1:] == (48, 48, 3)
    assert len(crops.frames) == len(crops.bits) == 6
    assert crops.frames.std() > 20  # a face
    monkeypatch.setattr(module, "find_boxes", None)  # boxes are found once
    crops_path(tmp_path / "out", chosen[1], clip.stem).unlink()
    make_versions([clip], tmp_path / "out", chosen, SMALL, say=quiet)
    np.testing.assert_array_equal(read_crops(crops_path(tmp_path / "out", chosen[1], clip.stem)).frames, crops.frames)
    monkeypatch.setattr(module, "read_clip", None)
    make_versions([clip], tmp_path / "out", chosen, SMALL, say=quiet)


def test_refusals(tmp_path):
    with refused("out-of-range", field="qp", value=60):
        Version(64, 48, 30, 60)
    with refused("duplicate", field="clips", value="a"):
        make_versions([tmp_path / "a.mp4", tmp_path / "b/a.mp4"], tmp_path / "out")
    with refused("file-missing"):
        read_crops(tmp_path / "none.npz")
    (tmp_path / "cut.npz").write_bytes(b"PK\3\4 and no more")
    with refused("damaged-file", file="cut.npz"):
        read_crops(tmp_path / "cut.npz")
