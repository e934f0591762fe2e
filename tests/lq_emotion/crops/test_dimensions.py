"""Valence and arousal side by side: drawn, prepared, made into training files, scored; neither touches the other."""

import json

import cv2
import h5py
import numpy as np
import pytest

from lq_emotion.datasets.avec.gold import read_gold
from lq_emotion.datasets.synthetic.face import Expression, draw_features
from lq_emotion.datasets.synthetic.person import make_person
from lq_emotion.datasets.synthetic.signals import simulate_signals
from lq_emotion.training import estimate
from matlab_ports.matfile import loadmat, savemat
from tests.lq_emotion.commands import TABLE, draw_recordings, draw_weights, drawn_files, failed, hashes, run

pytest.importorskip("av", reason="needs PyAV (the extra `video`)")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "recordings"
    options = ("--train", 1, "--dev", 1, "--frames", 60, "--size", "240x240", "--seed", 2)
    assert run("data", "make", "recordings", "--out", folder, *options) == 0
    return folder


def prepare(recordings, root, *more):
    return run("data", "prepare", "--recordings", recordings, "--out", root, "--no-figures", *more)


@pytest.fixture(scope="module")
def root(recordings, tmp_path_factory):
    """Both dimensions of the drawn recordings; faces are detected once."""
    root = tmp_path_factory.mktemp("root") / "root"
    assert prepare(recordings, root, "--boxes", recordings / "synthetic_face_boxes") == 0
    before = hashes(root)
    assert prepare(recordings, root, "--dimension", "arousal") == 0
    assert {path: value for path, value in hashes(root).items() if "arousal" not in path} == before
    return root


def test_both_dimensions_are_drawn_and_uncorrelated(recordings):
    for name in ("train_1", "dev_1"):
        folders = (recordings / "ratings_gold_standard" / dimension for dimension in ("valence", "arousal"))
        valence, arousal = (read_gold(folder / f"{name}.arff").gsd for folder in folders)
        assert valence.shape == arousal.shape == (60,)
        assert arousal.std() > 0.02
        assert np.abs(valence - arousal).max() > 0.1
    signals = simulate_signals(np.random.default_rng(0), 7500)
    assert 0.3 < signals.arousal.std() < 0.7
    assert abs(np.corrcoef(signals.valence, signals.arousal)[0, 1]) < 0.15


def test_a_face_shows_each_dimension_in_different_pixels():
    calm = Expression(0.0, 0.0, 0.0, (0.0, 0.0))
    for seed in range(4):
        person = make_person(np.random.default_rng(seed))
        changes = []
        for dimension in ("valence", "arousal"):
            low, high = (draw_features(person, calm._replace(**{dimension: value})) for value in (-1.0, 1.0))
            changes.append(cv2.subtract(high, low, dtype=cv2.CV_32F).ravel())
        assert all(0.001 < (np.abs(change) > 60).mean() < 0.08 for change in changes)
        assert abs(np.corrcoef(*changes)[0, 1]) < 0.7


def test_both_dimensions_share_the_same_crops(root):
    valence, arousal = (loadmat(root / part / "data/raw_data/HQ/dev_1.mat") for part in ("", "arousal"))
    assert "arousal" not in valence
    assert "valence" not in arousal
    np.testing.assert_array_equal(arousal["video"], valence["video"])
    assert arousal["arousal"].shape == valence["valence"].shape
    assert (arousal["arousal"] != valence["valence"]).any()
    outcomes = json.loads((root / "arousal/data/prepare.json").read_text())["recordings"]
    assert {outcome["boxes"] for outcome in outcomes} == {"train_1.mat", "dev_1.mat"}  # ROOT/data/bbox


def test_training_files_and_scores_are_of_the_dimension(root, tmp_path):
    assert run("data", "h5", "--out", root / "arousal", "--chunk", 8, "--keep-remainder") == 0
    assert not (root / "h5_files").exists()
    record = json.loads((root / "arousal/h5_files/HQ/h5.json").read_text())
    assert record["labels"] == "arousal"
    with h5py.File(record["train"]["files"][0]) as file:
        labels = loadmat(root / "arousal/data/raw_data/HQ/train_1.mat")["arousal"].ravel()
        np.testing.assert_allclose(np.sort(file["label"][...].ravel()), np.sort(np.float32(labels)))
    data, out = root / "arousal/data/raw_data/HQ", tmp_path / "scores"
    weights = ("--weights", draw_weights(tmp_path / "HQ.caffemodel"))
    assert run("study", "evaluate", *weights, "--data", data, "--out", out, "--device=cpu") == 0
    assert json.loads((out / "scores.json").read_text())["labels"] == "arousal"
    assert (out / "predictions/dev_1.csv").read_text().startswith("frame,time,arousal,prediction\n")
    assert run("verify", *weights, "--recordings", root / "arousal", "--out", tmp_path / "verify.json") == 1


def test_table_takes_the_dimension(recordings, root, capsys, monkeypatch):
    monkeypatch.setattr(estimate, "_time_in_process", lambda nets, *_: [(1, 1)] * len(nets))
    options = ("--dimension", "arousal", "--rows", "HR", "--preset", "small", "--scales", 3, "--dry-run")
    assert run(*TABLE, "--recordings", recordings, "--out", root, *options) == 0
    assert "to do  train HR" in capsys.readouterr().out
    assert (root / "arousal/logs/estimate.json").is_file()
    assert not (root / "logs").exists()


@pytest.mark.slow
def test_a_table_of_arousal_has_no_published_scores(tmp_path):
    recordings = draw_recordings(tmp_path / "recordings", frames=150, seed=2)
    options = ("--rows", "HR", "--preset", "demo", "--scales", 3, "--iterations", 1, "--delay", 0.4)
    assert run(*TABLE, *drawn_files(recordings, tmp_path), "--dimension", "arousal", *options) == 0
    table = json.loads((tmp_path / "arousal/table/table.json").read_text())
    assert (table["dimension"], table["settings"]["delay"]) == ("arousal", 0.4)
    (cell,) = table["cells"]
    assert cell["measured"]["frames"] > 20
    assert cell["published"] is None
    assert run("study", "report", "--out", tmp_path / "arousal") == 0
    assert "Arousal, which the paper has not." in (tmp_path / "arousal/report/report.md").read_text()


def test_crops_of_both_dimensions_are_not_mixed(root, tmp_path, capsys):
    folder = tmp_path / "data/raw_data/HQ"
    folder.mkdir(parents=True)
    (folder / "train_1.mat").symlink_to(root / "data/raw_data/HQ/train_1.mat")
    (folder / "dev_1.mat").symlink_to(root / "arousal/data/raw_data/HQ/dev_1.mat")
    message = failed(capsys, "data", "h5", "--out", tmp_path, "--chunk", 8)
    assert all(part in message for part in ("dev_1.mat", "labels = 'arousal'", "valence"))
    (folder / "dev_1.mat").unlink()
    both = {"valence": np.zeros(3), "arousal": np.zeros(3), "video": np.zeros((96, 96, 3)), "video_time": np.arange(3)}
    savemat(folder / "dev_1.mat", both)
    assert "valence and arousal" in failed(capsys, "data", "h5", "--out", tmp_path, "--chunk", 8)
