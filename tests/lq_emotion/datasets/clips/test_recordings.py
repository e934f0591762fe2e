"""Clips through the commands for recordings."""

import json

import cv2
import h5py
import numpy as np
import pytest

from matlab_ports.videoreader import VideoReader
from tests.lq_emotion.commands import draw_weights, failed, run
from tests.lq_emotion.datasets.clips.drawn import LOSSLESS, draw_frames
from tests.videos import write_video

pytest.importorskip("av", reason="needs PyAV (the extra `video`)")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two videos at 15 and 25 frames per second and a picture, of three drawn persons."""
    folder = tmp_path_factory.mktemp("clips")
    write_video(folder / "anna.mp4", draw_frames(1, np.linspace(-1, 1, 15)), rate=15, **LOSSLESS)
    write_video(folder / "ben.mp4", draw_frames(2, np.linspace(1, -1, 20)), rate=25, **LOSSLESS)
    cv2.imwrite(str(folder / "carl.png"), draw_frames(3, [0.5])[0][:, :, ::-1])
    (folder / "clips.csv").write_text("file,person,partition\nanna.mp4,A,train\nben.mp4,B,dev\ncarl.png,C,train\n")
    (folder / "frames.csv").write_text(
        "file,time,valence\nanna.mp4,0.2,0\nanna.mp4,1,0.8\nben.mp4,0,0.5\nben.mp4,1,-0.5\ncarl.png,0,0.5\n"
    )
    return folder


@pytest.fixture(scope="module")
def root(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "root"
    options = ("--frame-labels", folder / "frames.csv", "--smallest", 40, "--no-figures")
    assert run("data", "prepare", "--clips", folder / "clips.csv", "--out", out, *options) == 0
    return out


def test_the_copy_holds_the_labelled_frames_and_their_labels(root, folder):
    text = (root / "recordings/ratings_gold_standard/valence/anna.arff").read_text().splitlines()
    rows = [line.split(",")[1:] for line in text[text.index("@data") + 1 :]]
    assert [float(value) for _, value in rows[:3]] == pytest.approx([0.0, 0.04, 0.08], abs=1e-12)
    assert [time for time, _ in rows] == [f"{tick / 25:.2f}" for tick in range(5, 25)]
    with VideoReader(root / "recordings/recordings_video/ben.mp4") as copy, VideoReader(folder / "ben.mp4") as own:
        frames = list(zip(copy, own, strict=True))
        assert len(frames) == 20
        assert all((one == other).all() for one, other in frames)


def test_clips_go_through_training_data_and_scores_by_person(root, tmp_path):
    assert (root / "data/partitions.csv").read_text() == "name,partition\nanna,train\nben,dev\ncarl,train\n"
    assert run("data", "h5", "--out", root, "--chunk", 4) == 0
    record = json.loads((root / "h5_files/HQ/h5.json").read_text())
    assert [record[phase]["recordings"] for phase in ("train", "test")] == [["anna", "carl"], ["ben"]]
    with h5py.File(next((root / "h5_files/HQ").glob("train*.h5"))) as file:
        assert file["data"].shape[1:] == (1, 96, 96)
    weights = draw_weights(tmp_path / "HQ.caffemodel")
    data = root / "data/raw_data/HQ"
    assert (
        run("study", "evaluate", "--weights", weights, "--data", data, "--out", tmp_path / "scores", "--device=cpu")
        == 0
    )
    assert list(json.loads((tmp_path / "scores/scores.json").read_text())["scores"]) == ["ben", "concatenated", "mean"]


def test_a_second_run_copies_nothing(root, folder, capsys):
    capsys.readouterr()
    options = ("--frame-labels", folder / "frames.csv", "--smallest", 40, "--no-figures")
    assert run("data", "prepare", "--clips", folder / "clips.csv", "--out", root, *options) == 0
    output = capsys.readouterr().out
    assert "copying 0 of 3" in output
    assert output.count("done before") == 3


def test_what_the_authors_nets_cannot_learn_is_refused_before_anything_is_written(folder, tmp_path, capsys):
    table = folder / "classes.csv"
    table.write_text("file,person,label,partition\nanna.mp4,A,happy,train\nben.mp4,B,happy,dev\n")
    assert "valence" in failed(capsys, "data", "prepare", "--clips", table, "--out", tmp_path / "root")
    labelled = ("--clips", folder / "clips.csv", "--frame-labels", folder / "frames.csv")
    assert "arousal" in failed(capsys, "data", "prepare", *labelled, "--dimension=arousal", "--out", tmp_path / "root")
    assert "partition" in failed(capsys, "data", "prepare", *labelled, "--train", "anna", "--out", tmp_path / "root")
    assert not (tmp_path / "root").exists()
