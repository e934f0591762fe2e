"""Synthetic recordings: AVEC's tree, reproducible bytes, and continuation after an interruption."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lq_emotion.common.text_table import Table
from lq_emotion.datasets.avec.gold import combine_ratings, read_arff, read_gsd
from lq_emotion.datasets.avec.layout import find_recordings
from lq_emotion.datasets.synthetic import package
from lq_emotion.datasets.synthetic.package import SyntheticSettings, make_recordings
from lq_emotion.faces.boxfiles import read_boxes
from matlab_ports._support.frame_time import frame_time
from matlab_ports.videoreader import VideoReader
from tests.lq_emotion.commands import drawn_files, failed, hashes, quiet, run
from tests.refusals import refused

pytest.importorskip("av", reason="needs PyAV (the extra `video`)")
SMALL = SyntheticSettings(out=Path("avec"), train=1, dev=1, frames=200, size=(240, 240), seed=3)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("synthetic") / "avec"
    assert make_recordings(replace(SMALL, out=out), quiet) == ["train_1", "dev_1"]
    return out


def test_the_tree_has_avecs_layout_and_is_marked_as_synthetic(made):
    recordings = find_recordings(made)
    assert [recording.name for recording in recordings] == ["train_1", "dev_1"]
    assert all(r.video and r.frame_time and r.gold and r.ratings for r in recordings)
    assert all(recording.boxes is None for recording in recordings)  # the true boxes are used only on request
    assert "No person was filmed" in (made / "README.txt").read_text()
    assert json.loads((made / "synthetic.json").read_text())["synthetic"] is True
    assert "SYNTHETIC" in recordings[0].gold.read_text()


def test_times_frames_boxes_and_labels_agree(made):
    recordings = find_recordings(made)
    assert recordings
    for recording in recordings:
        times = frame_time(recording.frame_time)
        ticks = np.round(times / 0.04).astype(int)
        assert len(times) <= 200
        assert (np.diff(ticks) > 0).all()
        with VideoReader(recording.video) as video:
            assert sum(1 for _ in iter(video.advance, False)) == len(times)
            assert (video.height, video.width) == (240, 240)
        boxes = read_boxes(made / "synthetic_face_boxes" / f"{recording.name}.csv")
        np.testing.assert_array_equal(boxes.time, times)
        face = boxes.bbox[boxes.bbox.any(axis=1)]
        assert (face[:, 2] > 100).all()
        ratings, gold = Table.read(recording.ratings), read_arff(recording.gold)
        clock = gold.numbers("frameTime")
        assert len(clock) == 200
        raters = np.stack([ratings.numbers(name) for name in ratings.columns[1:]], axis=1)
        np.testing.assert_allclose(gold.numbers("GoldStandard"), combine_ratings(raters), atol=5.1e-7)


def test_the_same_settings_give_the_same_bytes_and_another_seed_another_person(made, tmp_path):
    make_recordings(replace(SMALL, out=tmp_path / "again", jobs=2), quiet)
    assert hashes(tmp_path / "again") == hashes(made)
    make_recordings(replace(SMALL, out=tmp_path / "other", dev=0, seed=4), quiet)
    first, other = (
        VideoReader(folder / "recordings_video/train_1.mp4").read().astype(int) for folder in (made, tmp_path / "other")
    )
    assert np.abs(first - other).mean() > 10


def test_nested_folders_are_found(tmp_path):
    make_recordings(replace(SMALL, out=tmp_path, dev=0, frames=50, size=(160, 160), nested=True), quiet)
    (recording,) = find_recordings(tmp_path)
    assert recording.video == tmp_path / "recordings_video/recordings_video/train_1.mp4"


def test_only_missing_recordings_are_made(made, tmp_path, monkeypatch):
    out = tmp_path / "avec"
    make_recordings(replace(SMALL, out=out), quiet)
    (out / "recordings_video/dev_1.mp4").unlink()
    before = (out / "recordings_video/train_1.mp4").stat().st_mtime_ns
    assert make_recordings(replace(SMALL, out=out), quiet) == ["dev_1"]
    assert (out / "recordings_video/train_1.mp4").stat().st_mtime_ns == before
    assert hashes(out) == hashes(made)
    (out / "recordings_video/dev_1.mp4").write_bytes(b"cut short")
    assert make_recordings(replace(SMALL, out=out), quiet) == ["dev_1"]
    assert make_recordings(replace(SMALL, out=out), quiet) == []
    draw = package.Scene.draw

    def interrupted(self, *arguments, **options):
        interrupted.count += 1
        if interrupted.count > 20:
            raise KeyboardInterrupt
        return draw(self, *arguments, **options)

    interrupted.count = 0
    monkeypatch.setattr(package.Scene, "draw", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_recordings(replace(SMALL, out=out, fresh=True), quiet)
    assert not list(out.rglob("*.partial"))


@pytest.mark.parametrize("changes", [{"train": 0, "dev": 0}, {"size": (161, 160)}, {"size": (160, 100)}])
def test_settings_that_cannot_be_drawn_are_refused(changes):
    with refused("out-of-range", field="--size" if "size" in changes else "--dev"):
        replace(SMALL, **changes)


def test_other_settings_are_refused_and_nothing_is_changed(made):
    before = hashes(made)
    with refused("mismatch", field="seed"):
        make_recordings(replace(SMALL, out=made, seed=9), quiet)
    assert hashes(made) == before


def test_a_folder_with_other_files_is_refused(tmp_path, capsys):
    (tmp_path / "photos.txt").write_text("mine")
    stderr = failed(capsys, "data", "make", "recordings", "--out", tmp_path, "--train", 1)
    assert f"{tmp_path}: contains photos.txt, which no data make recordings wrote" in stderr
    assert [path.name for path in tmp_path.iterdir()] == ["photos.txt"]


def test_prepare_accepts_the_tree_and_its_true_boxes(made, tmp_path):
    assert run("data", "prepare", *drawn_files(made, tmp_path), "--no-figures") == 0
    gold = read_gsd(tmp_path / "data/gsd/dev_1.mat")
    assert len(gold.gsd) == 200
    outcomes = json.loads((tmp_path / "data/prepare.json").read_text())["recordings"]
    assert all(outcome["kept"] == outcome["rows"] - outcome["no_face"] for outcome in outcomes)
