"""A synthetic package: AVEC's tree, the same bytes from the same settings, gone on with after a stop."""

import hashlib
import json

import numpy as np
import pytest

from caffe_compat.errors import CaffeCompatError
from lq_emotion.cli import main
from lq_emotion.datasets.avec.gold import combine_ratings, read_gsd
from lq_emotion.datasets.avec.layout import find_recordings
from lq_emotion.datasets.avec.tables import read_arff, read_csv
from lq_emotion.datasets.synthetic import package
from lq_emotion.datasets.synthetic.package import Settings, make_recordings
from lq_emotion.faces.boxfiles import read_boxes
from matlab_ports._support.frame_time import frame_time
from matlab_ports.videoreader import VideoReader

pytest.importorskip("av", reason="needs PyAV (the extra `video`)")
SMALL = Settings(train=1, dev=1, frames=200, width=240, height=240, seed=3)


def quiet(_):
    pass


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("synthetic") / "avec"
    assert make_recordings(out, SMALL, say=quiet) == ["train_1", "dev_1"]
    return out


def hashes(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_tree_is_avecs_and_says_that_it_is_synthetic(made):
    recordings = find_recordings(made)
    assert [one.name for one in recordings] == ["train_1", "dev_1"]
    assert all(one.video and one.frame_time and one.gold and one.ratings for one in recordings)
    assert all(one.boxes is None for one in recordings)  # the true ones are used on request only
    assert "Nobody was filmed" in (made / "README.txt").read_text()
    assert json.loads((made / "synthetic.json").read_text())["synthetic"] is True
    assert "SYNTHETIC" in recordings[0].gold.read_text()


def test_times_frames_boxes_and_labels_belong_together(made):
    recordings = find_recordings(made)
    assert recordings
    for one in recordings:
        times = frame_time(one.frame_time)
        ticks = np.round(times / 0.04).astype(int)
        assert len(times) <= 200
        assert (np.diff(ticks) > 0).all()
        with VideoReader(one.video) as video:
            assert sum(1 for _ in iter(video.skip, False)) == len(times)
            assert (video.height, video.width) == (240, 240)
        boxes = read_boxes(made / "synthetic_face_boxes" / f"{one.name}.csv")
        np.testing.assert_array_equal(boxes.time, times)
        face = boxes.bbox[boxes.bbox.any(axis=1)]
        assert (face[:, 2] > 100).all()
        ratings, gold = read_csv(one.ratings), read_arff(one.gold)
        clock = gold.numbers(gold.position("frameTime"))
        assert len(clock) == 200
        raters = np.stack([ratings.numbers(k) for k in range(1, 7)], axis=1)
        np.testing.assert_allclose(gold.numbers(gold.position("GoldStandard")), combine_ratings(raters), atol=5.1e-7)


def test_the_same_settings_give_the_same_bytes_and_another_seed_somebody_else(made, tmp_path):
    make_recordings(tmp_path / "again", SMALL, jobs=2, say=quiet)
    assert hashes(tmp_path / "again") == hashes(made)
    make_recordings(tmp_path / "other", Settings(train=1, dev=0, frames=200, width=240, height=240, seed=4), say=quiet)
    first, other = (
        VideoReader(folder / "recordings_video/train_1.mp4").read().astype(int) for folder in (made, tmp_path / "other")
    )
    assert np.abs(first - other).mean() > 10


def test_nested_folders_are_found_too(tmp_path):
    make_recordings(tmp_path, Settings(train=1, dev=0, frames=50, width=160, height=160, nested=True), say=quiet)
    (one,) = find_recordings(tmp_path)
    assert one.video == tmp_path / "recordings_video/recordings_video/train_1.mp4"


def test_what_is_missing_is_made_and_the_rest_left_alone(made, tmp_path, monkeypatch):
    out = tmp_path / "avec"
    make_recordings(out, SMALL, say=quiet)
    (out / "recordings_video/dev_1.mp4").unlink()
    before = (out / "recordings_video/train_1.mp4").stat().st_mtime_ns
    assert make_recordings(out, SMALL, say=quiet) == ["dev_1"]
    assert (out / "recordings_video/train_1.mp4").stat().st_mtime_ns == before
    assert hashes(out) == hashes(made)
    assert make_recordings(out, SMALL, say=quiet) == []
    draw = package.Scene.draw

    def interrupted(self, *arguments, **options):
        interrupted.count += 1
        if interrupted.count > 20:
            raise KeyboardInterrupt
        return draw(self, *arguments, **options)

    interrupted.count = 0
    monkeypatch.setattr(package.Scene, "draw", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_recordings(out, SMALL, fresh=True, say=quiet)
    assert not list(out.rglob("*.partial"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings(train=0, dev=0), "dev = 0"),
        (Settings(frames=10), "frames = 10"),
        (Settings(width=100), "width = 100"),
        (Settings(height=161), "height = 161"),
        (Settings(lag=-1.0), "lag = -1.0"),
        (Settings(train=1, dev=1, frames=200, width=240, height=240, seed=9), r"seed = 9: was 3 when .*--fresh"),
    ],
)
def test_settings_that_cannot_be_used_are_named_and_nothing_is_touched(made, settings, message):
    before = hashes(made)
    with pytest.raises(CaffeCompatError, match=message):
        make_recordings(made, settings, say=quiet)
    assert hashes(made) == before


def test_a_folder_with_something_else_is_refused(tmp_path, capsys):
    (tmp_path / "photos.txt").write_text("mine")
    assert main(["make-recordings", "--out", str(tmp_path), "--train", "1"]) == 1
    error = capsys.readouterr().err
    assert "is not empty, and holds no synthetic recordings" in error
    assert "Traceback" not in error
    assert main(["make-recordings", "--out", str(tmp_path), "--size", "big"]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["photos.txt"]


def test_prepare_takes_it_with_its_true_boxes(made, tmp_path):
    options = [
        "--recordings",
        str(made),
        "--out",
        str(tmp_path),
        "--boxes",
        str(made / "synthetic_face_boxes"),
        "--no-pictures",
    ]
    assert main(["prepare", *options]) == 0
    gold = read_gsd(tmp_path / "data/gsd/dev_1.mat")
    assert len(gold.gsd) == 200
    outcomes = json.loads((tmp_path / "data/prepare.json").read_text())["recordings"]
    assert all(one["kept"] == one["rows"] - one["no_face"] for one in outcomes)
