"""lq-emotion study submission: estimates of recordings without labels, gapless, in the form of the gold standard."""

import json

import numpy as np
import pytest

from lq_emotion.datasets.avec.gold import read_gold
from lq_emotion.evaluation.submission import Submission, fill
from lq_emotion.metrics.regression import score
from matlab_ports.matfile import savemat
from tests.lq_emotion.commands import failed, linear_net, run, save_crops

SHOWN = {"dev_1": [0, 1, 2, 5, 6, 9], "test_1": [2, 3, 7], "test_2": [0, 1]}  # frames with a crop
LENGTH = 12  # times of the gold standard


@pytest.fixture
def data(tmp_path):
    """Crops whose mean is the label, with gaps; the partition test has no labels."""
    root = tmp_path / "root" / "data"
    for name, frames in SHOWN.items():
        gold, time = trace(name), np.round(0.04 * np.arange(LENGTH), 2)
        content = {"video": np.broadcast_to(gold[frames], (2, 2, len(frames))), "video_time": time[frames]}
        labels = {"valence": gold[frames]} if name == "dev_1" else {}
        for kind, variables in (("raw_data/HQ", {**content, **labels}), ("bbox", {"time": time[: LENGTH - 2]})):
            (root / kind).mkdir(parents=True, exist_ok=True)
            savemat(root / kind / f"{name}.mat", variables, "-v6")
        (root / "gsd").mkdir(exist_ok=True)
        if labels:
            savemat(root / "gsd" / f"{name}.mat", {"gsd": gold[:, None], "time": time[:, None]})
    return root / "raw_data" / "HQ"


def trace(name):
    return np.sin(np.arange(LENGTH) / 3 + len(name) + int(name[-1]))


@pytest.fixture
def mean(tmp_path):
    """A net that computes the mean of a frame: an oracle."""
    return linear_net(tmp_path, 2, weight=0.25, bias=0.0)


def last_seen(name):
    """The label of the last frame with a crop, or of the first such frame, at every time."""
    frames = np.array(SHOWN[name])
    return trace(name)[[max([frames[0], *frames[frames <= k]]) for k in range(LENGTH)]]


def test_every_time_of_the_gold_standard_has_a_row_and_gaps_take_the_last_estimate(data, mean, tmp_path):
    out = tmp_path / "out"
    assert run("study", "submission", *mean, "--data", data, "--out", out) == 0
    results = Submission.from_json(json.loads((out / "submission.json").read_text()))
    assert [(one.name, one.rows, one.filled) for one in results.recordings] == [("test_1", 12, 9), ("test_2", 12, 10)]
    assert sorted(path.name for path in (out / "valence").iterdir()) == [
        *("test_1.arff", "test_1.csv", "test_2.arff", "test_2.csv")
    ]
    for name in ("test_1", "test_2"):
        written = read_gold(out / "valence" / f"{name}.arff")
        assert written.time.tolist() == [round(0.04 * k, 2) for k in range(12)]
        np.testing.assert_allclose(written.gsd, last_seen(name), atol=1e-6)
    lines = (out / "valence/test_2.arff").read_text().splitlines()
    assert lines[:7] == [
        "@relation GOLDSTANDARD", "", "@attribute Instance_name string", "@attribute frameTime numeric",
        "@attribute GoldStandard numeric", "", "@data",
    ]  # fmt: skip
    assert lines[7].startswith("test_2,0,")
    assert lines[9].startswith("test_2,0.08,")
    csv = (out / "valence/test_2.csv").read_text().splitlines()
    assert csv == ["Instance_name,frameTime,GoldStandard", *lines[7:]]


def test_a_delay_shifts_the_estimates_forward(data, mean, tmp_path):
    assert run("study", "submission", *mean, "--data", data, "--out", tmp_path / "out", "--delay", 0.12) == 0
    for name in ("test_1", "test_2"):
        expected = np.r_[[last_seen(name)[0]] * 3, last_seen(name)[:-3]]
        written = read_gold(tmp_path / "out/valence" / f"{name}.arff").gsd
        np.testing.assert_allclose(written, expected, atol=1e-6)


def test_delay_and_post_processing_come_from_an_evaluation(data, mean, tmp_path):
    scores, out = tmp_path / "scores", tmp_path / "out"
    assert run("study", "evaluate", *mean, "--data", data, "--out", scores, "--delay", 0.04) == 0
    content = json.loads((scores / "scores.json").read_text())
    learnt = {"learnt_on": ["dev_1"], "window": 0, "bias": 0.5, "scale": 2.0, "ccc": {}}
    (scores / "scores.json").write_text(json.dumps({**content, "post_processing": learnt}))
    options = ("--data", data, "--out", out, "--names", "test_1", "--scores", scores / "scores.json")
    assert run("study", "submission", *mean, *options) == 0
    expected = 2 * (np.r_[last_seen("test_1")[0], last_seen("test_1")[:-1]] + 0.5)
    np.testing.assert_allclose(read_gold(out / "valence/test_1.arff").gsd, expected, atol=1e-6)


def test_an_oracle_without_gaps_scores_one_at_its_delay(tmp_path):
    root, time = tmp_path / "data", np.arange(200) * 0.04
    faces, gold = np.sin(time), np.sin(np.clip(time - 0.4, 0, None))  # raters react 0.4 s late
    save_crops(root / "raw_data/HQ/dev_1.mat", np.broadcast_to(faces, (2, 2, 200)), valence=gold)
    net, out = linear_net(tmp_path, 2, weight=0.25, bias=0.0), tmp_path / "out"
    assert (
        run("study", "submission", *net, "--data", root / "raw_data/HQ", "--out", out, "--names", "dev_1", "--delay=.4")
        == 0
    )
    scores = score(read_gold(out / "valence/dev_1.arff").gsd, gold, "population")
    assert (scores.frames, scores.rmse < 1e-6, scores.ccc > 1 - 1e-9) == (200, True, True)


def test_fill_repeats_the_first_and_the_last_estimates():
    filled = fill(np.array([[1.0], [2.0]]), np.array([2, 4]), np.arange(7))
    assert filled.ravel().tolist() == [1, 1, 1, 1, 2, 2, 2]


def test_unusable_input_is_one_line_and_nothing_is_written(data, mean, tmp_path, capsys):
    out = tmp_path / "out"
    base = ("study", "submission", *mean, "--out", out, "--data")
    assert "dev_9.mat" in failed(capsys, *base, data, "--names", "dev_9")
    assert "no recording in this partition" in failed(capsys, *base, tmp_path)
    assert "scores.json" in failed(capsys, *base, data, "--scores", tmp_path / "scores.json")
    assert not out.exists()
    assert "leave out --scores" in failed(capsys, *base, data, "--delay", 1, "--scores", "x")
    evaluate = ("study", "evaluate", *mean, "--data", data, "--out", out, "--names", "test_1")
    assert "test_1.mat: has no variable valence" in failed(capsys, *evaluate)
