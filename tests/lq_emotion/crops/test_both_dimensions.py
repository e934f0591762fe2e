"""Valence and arousal learnt together: crops, training files, nets and scores hold both, in this order."""

import json

import h5py
import numpy as np
import pytest

from caffe_compat import load_net
from caffe_compat.build.weights import save_weights
from caffe_compat.formats.files import read_net
from lq_emotion.datasets.avec.gold import read_gold
from lq_emotion.nets.cnn_d import cnn_d_deploy, with_outputs
from matlab_ports.matfile import loadmat
from tests.lq_emotion.commands import TABLE, draw_recordings, drawn_files, failed, linear_net, run, save_crops

BOTH = ("valence", "arousal")
SIDE = 24  # pixels of a crop
PIXELS = {"valence": 0, "arousal": SIDE - 1}  # columns that show a dimension
NET = f"""
input: "data" input_dim: 1 input_dim: 1 input_dim: {SIDE} input_dim: {SIDE}
layer {{ name: "fc5" type: "InnerProduct" bottom: "data" top: "fc5" inner_product_param {{ num_output: 2 }} }}
"""


def write(folder, dimensions=BOTH):
    """Write crops whose left half shows valence and whose right half shows arousal, from 0 to 1; test_1 has no labels."""
    for number, name in enumerate(("train_1", "dev_1", "dev_2", "test_1")):
        phase = np.arange(20) / 4 + number
        shown = {"valence": (1 + np.sin(phase)) / 2, "arousal": (1 + np.cos(0.7 * phase)) / 2}
        video = np.repeat([[shown[dimension] for dimension in BOTH]], SIDE // 2, axis=1).repeat(SIDE, axis=0)
        labels = {dimension: shown[dimension] for dimension in dimensions if name != "test_1"}
        save_crops(folder / f"{name}.mat", video, **labels)
    return folder


@pytest.fixture
def data(tmp_path):
    return write(tmp_path / "root" / "data" / "raw_data" / "HQ")


@pytest.fixture
def oracle(tmp_path):
    """A net whose outputs are one pixel of each half; it sees faces transposed."""
    (tmp_path / "both.prototxt").write_text(NET)
    net = load_net(tmp_path / "both.prototxt", seed=0)
    weights = net.state_dict()
    weights["fc5.weight"].fill_(0)
    for output, column in enumerate(PIXELS.values()):
        weights["fc5.weight"][output, column * SIDE] = 1
    weights["fc5.bias"].fill_(0)
    save_weights(net, tmp_path / "both.caffemodel")
    return "--weights", tmp_path / "both.caffemodel", "--net", tmp_path / "both.prototxt", "--device=cpu"


def test_an_oracle_scores_one_in_each_dimension(data, oracle, tmp_path):
    out = tmp_path / "out"
    assert run("study", "evaluate", *oracle, "--data", data, "--out", out) == 0
    for dimension in BOTH:
        results = json.loads((out / dimension / "scores.json").read_text())
        assert results["labels"] == dimension
        assert results["scores"]["concatenated"]["frames"] == 40
        assert results["concatenated_by_convention"]["population"]["ccc"] == pytest.approx(1, abs=1e-6)
        header = (out / dimension / "predictions/dev_1.csv").read_text().splitlines()[0]
        assert header == f"frame,time,{dimension},prediction"
        assert (out / dimension / "traces.png").is_file()
    assert sorted(path.name for path in out.iterdir()) == ["arousal", "valence"]


def test_a_submission_has_both_dimensions(data, oracle, tmp_path):
    assert run("study", "submission", *oracle, "--data", data, "--out", tmp_path / "out") == 0
    crops = loadmat(data / "test_1.mat")["video"]
    for dimension, column in PIXELS.items():
        written = read_gold(tmp_path / "out" / dimension / "test_1.arff")
        np.testing.assert_allclose(written.gsd, crops[0, column], atol=1e-6)


@pytest.mark.parametrize("dimension", [pytest.param("valence", marks=pytest.mark.slow), "arousal"])
def test_a_net_of_both_is_scored_on_crops_of_one(dimension, oracle, tmp_path):
    pytest.importorskip("av", reason="needs PyAV (the extra `video`)")
    data = write(tmp_path / "crops", (dimension,))
    assert run("study", "evaluate", *oracle, "--data", data, "--out", tmp_path / "scores") == 0
    scores = json.loads((tmp_path / "scores/scores.json").read_text())["concatenated_by_convention"]
    assert scores["population"]["ccc"] == pytest.approx(1, abs=1e-6)
    _, weights, *options = oracle
    sweep = ("--weights", f"both={weights}", "--scales", 3, "--codecs", "x264", "--qps", 0)
    assert run("study", "rd", *sweep, *options, "--data", data, "--out", tmp_path / "rd") == 0
    points = json.loads((tmp_path / "rd/rd.json").read_text())["points"]
    assert all(point["score"]["ccc"] > 0.95 for point in points)


def test_a_net_of_one_dimension_is_refused_on_crops_of_both(data, tmp_path, capsys):
    options = linear_net(tmp_path, SIDE, weight=1, bias=0)
    problem = failed(capsys, "study", "evaluate", *options, "--data", data, "--out", tmp_path / "out")
    assert "the net has 1 output, the crops have 2 labels" in problem
    assert not (tmp_path / "out").exists()


def test_the_definition_for_two_labels_differs_in_its_output_only():
    one, two = cnn_d_deploy(), with_outputs(cnn_d_deploy(), 2)
    assert [layer.inner_product_param.num_output for layer in two.layer if layer.name == "fc5"] == [2]
    assert list(two.input_dim) == [1, 1, 96, 96, 1, 2, 1, 1]
    assert load_net(two, seed=0).caffe.shapes["fc5"] == (1, 2)
    assert with_outputs(two, 1) == one


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    pytest.importorskip("av", reason="needs PyAV (the extra `video`)")
    return draw_recordings(tmp_path_factory.mktemp("drawn") / "recordings", frames=60, seed=2)


def test_crops_training_files_and_nets_hold_both(recordings, tmp_path):
    assert run("data", "prepare", *drawn_files(recordings, tmp_path), "--dimension", "both") == 0
    root = tmp_path / "both"
    crops = loadmat(root / "data/raw_data/HQ/train_1.mat")
    assert list(crops) == ["video", "valence", "arousal", "video_time"]
    for dimension in BOTH:
        whole = read_gold(recordings / "ratings_gold_standard" / dimension / "train_1.arff")
        places = np.rint(crops["video_time"].ravel() / 0.04).astype(int)
        assert crops[dimension].ravel().tolist() == whole.gsd[places].tolist()
        assert loadmat(root / "data/gsd" / dimension / "train_1.mat")["gsd"].ravel().tolist() == whole.gsd.tolist()
    assert run("data", "h5", "--out", root, "--chunk", 8, "--keep-remainder") == 0
    assert json.loads((root / "h5_files/HQ/h5.json").read_text())["labels"] == "valence and arousal"
    with h5py.File(root / "h5_files/HQ/train.h5") as file:
        frames, labels = file["data"][:, 0], file["label"][...]
    assert labels.shape == (len(frames), 2)
    pairs = {(np.float32(v), np.float32(a)) for v, a in zip(crops["valence"][0], crops["arousal"][0], strict=True)}
    assert {tuple(row) for row in labels} == pairs
    options = ("--iterations", 1, "--batch", 4, "--test-iter", 1, "--test-interval", 1, "--device=cpu")
    assert run("study", "train", "--h5", root / "h5_files/HQ", "--out", root / "runs/HQ", *options) == 0
    assert "num_output of fc5: 1 -> 2" in json.loads((root / "runs/HQ/train.json").read_text())["changes"]
    assert read_net(root / "runs/HQ/deploy.prototxt").layer[-2].inner_product_param.num_output == 2
    command = ("--weights", root / "runs/HQ", "--data", root / "data/raw_data/HQ", "--out", root / "scores/HQ")
    assert run("study", "evaluate", *command, "--device=cpu", "--timeline", root / "data/gsd") == 0
    assert all((root / "scores/HQ" / dimension / "scores.json").is_file() for dimension in BOTH)


@pytest.mark.slow
def test_a_study_of_both_has_a_table_for_each(tmp_path):
    recordings = draw_recordings(tmp_path / "recordings", frames=150, seed=2)
    nets = ("--rows", "HR", "Non-Joint", "Joint-OA", "--scales", 3, "--mixture", 3)
    options = ("--preset", "demo", "--iterations", 1, "--device=cpu")
    words = (*TABLE, *drawn_files(recordings, tmp_path), "--dimension", "both", *nets, *options)
    assert run(*words) == 0
    for dimension in BOTH:
        table = json.loads((tmp_path / "both/table" / dimension / "table.json").read_text())
        assert table["dimension"] == dimension
        assert [cell["method"] for cell in table["cells"]] == ["HR", "Non-Joint", "Joint-OA"]
        assert all(cell["scores"].endswith(f"{dimension}/scores.json") for cell in table["cells"])
        assert (table["cells"][0]["published"] is None) == (dimension == "arousal")
    assert run(*words, "--json") == 0
