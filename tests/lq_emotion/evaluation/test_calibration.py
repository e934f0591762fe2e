"""`evaluate --postprocess` on all recordings together, as in AVEC's script, or on each alone, with its warnings."""

import json

import numpy as np
import pytest

from lq_emotion.evaluation.postprocess import learn, medfilt1
from tests.lq_emotion.commands import linear_net, run, save_crops

FRAMES = {"train_1": 260, "train_2": 240, "dev_1": 250, "dev_2": 230}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Recordings with a nearly constant gold standard, high and low in turn, and frames that show it under much noise."""
    folder = tmp_path_factory.mktemp("crops")
    rng = np.random.default_rng(0)
    for number, (name, count) in enumerate(FRAMES.items()):
        gold = (-1) ** number * 0.5 + 0.1 * np.sin(np.arange(count) / 60)
        video = np.broadcast_to(gold + rng.standard_normal(count), (2, 2, count))
        save_crops(folder / f"{name}.mat", video, valence=gold)
    return folder


@pytest.fixture(scope="module")
def mean(tmp_path_factory):
    """A net that computes the mean of a frame."""
    return linear_net(tmp_path_factory.mktemp("net"), 2, weight=0.25, bias=0.0)


def evaluated(mean, data, out, *more):
    assert run("study", "evaluate", *mean, "--data", data, "--out", out, *more) == 0
    columns = {}
    for path in (out / "predictions").glob("*.csv"):
        rows = [line.split(",") for line in path.read_text().splitlines()]
        columns[path.stem] = {title: np.array([float(row[at]) for row in rows[1:]]) for at, title in enumerate(rows[0])}
    return json.loads((out / "scores.json").read_text()), columns


def joined(columns, title, names):
    return np.concatenate([columns[name][title] for name in names])


def test_the_official_search_filters_all_recordings_as_one_trace(mean, data, tmp_path):
    results, columns = evaluated(mean, data, tmp_path, "--postprocess", "dev")
    raw, gold = (joined(columns, title, ("dev_1", "dev_2")) for title in ("raw", "valence"))
    expected = learn(raw, gold)
    assert results["post_processing"]["window"] == expected.window > 100
    prediction = (medfilt1(raw, expected.window) + expected.bias) * expected.scale
    assert joined(columns, "prediction", ("dev_1", "dev_2")).tolist() == prediction.tolist()
    assert results["scores"]["concatenated"]["ccc"] == pytest.approx(expected.ccc["scale"], rel=1e-12)


def test_the_consistent_search_filters_each_recording_alone(mean, data, tmp_path):
    both, columns = evaluated(mean, data, tmp_path / "both", "--postprocess", "train", "--search", "consistent")
    window = both["post_processing"]["window"]
    assert window > 50
    processing = both["post_processing"]
    for name in ("dev_1", "dev_2"):
        expected = (medfilt1(columns[name]["raw"], window) + processing["bias"]) * processing["scale"]
        assert columns[name]["prediction"].tolist() == expected.tolist()
    options = ("--postprocess", "train", "--search", "consistent", "--names", "dev_2")
    alone, column = evaluated(mean, data, tmp_path / "one", *options)
    assert column["dev_2"]["prediction"].tolist() == columns["dev_2"]["prediction"].tolist()
    assert alone["scores"]["dev_2"] == both["scores"]["dev_2"]


@pytest.mark.parametrize(("learnt_on", "warns"), [("dev", True), ("dev_2", True), ("train", False)])
def test_learning_on_scored_recordings_gives_a_warning(mean, data, tmp_path, capsys, learnt_on, warns):
    results, _ = evaluated(mean, data, tmp_path, "--postprocess", learnt_on)
    expected = {"dev": ["dev_1", "dev_2"], "dev_2": ["dev_2"], "train": ["train_1", "train_2"]}
    assert results["post_processing"]["learnt_on"] == expected[learnt_on]
    assert ("warning: post-processing" in capsys.readouterr().out) == warns
    assert ("expect lower scores" in (tmp_path / "scores.md").read_text()) == warns
