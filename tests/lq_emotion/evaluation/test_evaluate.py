"""lq-emotion study evaluate: predictions and scores agree with run_eval; options; invalid input is an error of one line."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from caffe_compat import load_net
from caffe_compat.build.weights import save_weights
from lq_emotion import prototxt
from lq_emotion.evaluation import postprocess
from lq_emotion.evaluation.predictor import DEPLOY, Predictor, load_predictor
from lq_emotion.metrics.delay import shift, shift_gold
from lq_emotion.metrics.regression import ccc, score
from lq_emotion.nets.names import Net
from lq_emotion.training.run import Run, TrainingIdentity, claim
from matlab_ports import run_eval
from matlab_ports.matfile import loadmat, savemat
from tests.lq_emotion import commands
from tests.lq_emotion.commands import draw_weights, write_three_frame_net
from tests.refusals import refused

FRAMES = {"dev_1": 12, "dev_2": 9, "dev_10": 7}
GAPS = (3, 4, 8)  # of the grid, where a frame was dropped


def evaluate(*argv):
    return commands.run("study", "evaluate", *argv, "--device=cpu")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The folder of a run with the authors' net, initialised by its fillers; its outputs differ on frames of noise."""
    folder = tmp_path_factory.mktemp("a run") / "snapshots"
    folder.mkdir()
    for iteration in (9, 10):
        draw_weights(folder / f"emotion_iter_{iteration}.caffemodel")
    return folder.parent


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Recordings as prepare writes them, and the complete gold standard."""
    root = tmp_path_factory.mktemp("a root")
    data, gsd = root / "data" / "raw_data" / "HQ", root / "data" / "gsd"
    gsd.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, count in FRAMES.items():
        grid = np.setdiff1d(np.arange(count + len(GAPS)), GAPS)
        time = np.array([round(0.04 * i, 2) for i in range(count + len(GAPS))])
        gold = np.sin(np.arange(time.size) / 3)
        light = (0.4 + 0.3 * gold[grid]) + 0.05 * rng.standard_normal(count)
        video = np.clip(rng.random((96, 96, 1)) * light, 0, 1)
        commands.save_crops(data / f"{name}.mat", video, time[grid], valence=gold[grid])
        savemat(gsd / f"{name}.mat", {"gsd": gold[:, None], "time": time[:, None]})
    return root


@pytest.fixture(scope="module")
def data(root):
    return root / "data" / "raw_data" / "HQ"


@pytest.fixture(scope="module")
def finished(tmp_path_factory, weights, data):
    out = tmp_path_factory.mktemp("the scores") / "HQ"
    assert evaluate("--weights", weights, "--data", data, "--out", out) == 0
    return out


def read(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def column(rows, name):
    return np.array([float(row[name]) for row in rows])


def failed(capsys, *argv, code=1):
    return commands.failed(capsys, "study", "evaluate", *argv, "--device=cpu", code=code)


def test_all_files_are_written_and_no_partial_ones(finished):
    names = {path.relative_to(finished).as_posix() for path in finished.rglob("*") if path.is_file()}
    assert names == {
        *(f"predictions/{name}.csv" for name in FRAMES),
        *("scores.csv", "scores.json", "scores.md", "traces.png", "concatenated.png", "scatter.png"),
    }


def test_scores_agree_with_run_eval(finished, weights, data):
    predictor, path = load_predictor(weights)
    assert path.name == "emotion_iter_10.caffemodel"
    names = tuple(FRAMES)
    expected = run_eval(predictor, data, file_name=names)
    scores = json.loads((finished / "scores.json").read_text())["scores"]
    assert list(scores) == [*names, "concatenated", "mean"]
    for number, name in enumerate(names):
        assert scores[name]["frames"] == FRAMES[name]
        for key, values in (("rmse", expected.RMSE), ("cc", expected.CC), ("ccc", expected.CCC)):
            assert scores[name][key] == pytest.approx(values[number], rel=1e-12)
    concatenated = [scores["concatenated"][key] for key in ("rmse", "cc", "ccc")]
    assert concatenated == pytest.approx([expected.total_RMSE, expected.total_CC, expected.total_CCC], rel=1e-12)
    assert scores["mean"]["ccc"] == pytest.approx(expected.CCC.mean(), rel=1e-12)


def test_predictions_are_the_output_of_the_net_for_transposed_frames(finished, weights, data):
    net = load_net(prototxt.path(DEPLOY), weights / "snapshots/emotion_iter_10.caffemodel")
    video = loadmat(data / "dev_2.mat")["video"]
    with torch.no_grad():
        blob = torch.from_numpy(np.float32(video).transpose(2, 1, 0)[:, None].copy())
        expected = net(blob).numpy()[:, 0]
    rows = read(finished / "predictions/dev_2.csv")
    assert list(rows[0]) == ["frame", "time", "valence", "prediction"]
    assert np.allclose(column(rows, "prediction"), expected, rtol=0, atol=1e-6)
    assert [row["frame"] for row in rows] == ["0", "1", "2", "5", "6", "7", "9", "10", "11"]
    assert [row["time"] for row in rows][:4] == ["0", "0.04", "0.08", "0.2"]
    assert column(rows, "valence").tolist() == loadmat(data / "dev_2.mat")["valence"][0].tolist()


def test_csv_json_and_markdown_agree(finished):
    results = json.loads((finished / "scores.json").read_text())
    rows = read(finished / "scores.csv")
    assert [row["recording"] for row in rows] == list(results["scores"])
    for row in rows:
        assert float(row["ccc"]) == results["scores"][row["recording"]]["ccc"]
    markdown = (finished / "scores.md").read_text().splitlines()
    assert markdown[0] == "| recording | frames | RMSE | CC | CCC |"
    row = results["scores"]["dev_2"]
    assert f"| dev_2 | 9 | {row['rmse']:.4f} | {row['cc']:.4f} | {row['ccc']:.4f} |" in markdown
    by_convention = results["concatenated_by_convention"]
    assert by_convention["avec"] == results["scores"]["concatenated"]
    assert by_convention["population"]["ccc"] > by_convention["avec"]["ccc"] > 0


def test_plots_have_a_sensible_size(finished):
    for name in ("traces.png", "concatenated.png", "scatter.png"):
        with Image.open(finished / name) as image:
            image.load()
            assert min(image.size) > 300


def test_a_delay_moves_predictions_forward_on_the_grid(finished, weights, data, tmp_path):
    assert evaluate("--weights", weights, "--data", data, "--out", tmp_path, "--delay=0.08") == 0
    plain, moved = (read(out / "predictions/dev_1.csv") for out in (finished, tmp_path))
    expected = shift(column(plain, "prediction"), column(plain, "time"), 0.08)
    assert column(moved, "prediction").tolist() == expected.tolist()
    assert column(moved, "raw").tolist() == column(plain, "prediction").tolist()
    assert column(moved, "valence").tolist() == column(plain, "valence").tolist()


def test_post_processing_learnt_on_some_recordings_is_applied_to_others(
    finished, weights, data, tmp_path, capsys, monkeypatch
):
    command = ("--weights", weights, "--data", data, "--out", tmp_path, "--names", "dev_2", "--delay=0.04")
    assert evaluate(*command, "--postprocess", "dev_1", "dev_10") == 0
    plain = {name: read(finished / f"predictions/{name}.csv") for name in FRAMES}
    learnt_on = [plain[name] for name in ("dev_1", "dev_10")]
    gold = np.concatenate([shift_gold(column(r, "valence"), column(r, "time"), 0.04) for r in learnt_on])
    expected = postprocess.learn(np.concatenate([column(rows, "prediction") for rows in learnt_on]), gold)
    results = json.loads((tmp_path / "scores.json").read_text())
    assert list(results["scores"]) == ["dev_2", "concatenated", "mean"]
    for key in ("window", "bias", "scale", "ccc"):
        assert results["post_processing"][key] == getattr(expected, key)
    rows = read(tmp_path / "predictions/dev_2.csv")
    processed = expected.apply(column(plain["dev_2"], "prediction"))
    assert column(rows, "prediction").tolist() == shift(processed, column(rows, "time"), 0.04).tolist()
    assert results["scores"]["dev_2"]["ccc"] == ccc(column(rows, "prediction"), column(rows, "valence"))
    assert "Post-processing learnt on dev_1, dev_10: " in capsys.readouterr().out


def test_the_timeline_has_a_row_for_every_time_and_nan_where_frames_were_dropped(finished, weights, root, tmp_path):
    command = ("--weights", weights, "--data", root / "data/raw_data/HQ", "--out", tmp_path, "--names", "dev_2")
    assert evaluate(*command, "--timeline", root / "data/gsd") == 0
    rows = read(tmp_path / "predictions/dev_2.csv")
    assert [int(row["frame"]) for row in rows] == list(range(12))
    prediction = column(rows, "prediction")
    assert np.flatnonzero(np.isnan(prediction)).tolist() == list(GAPS)
    plain = read(finished / "predictions/dev_2.csv")
    assert prediction[~np.isnan(prediction)].tolist() == column(plain, "prediction").tolist()
    assert column(rows, "valence").tolist() == loadmat(root / "data/gsd/dev_2.mat")["gsd"][:, 0].tolist()
    assert json.loads((tmp_path / "scores.json").read_text())["scores"]["dev_2"]["frames"] == 9


def test_frames_are_normalised_as_the_data_of_the_training(weights, data, tmp_path):
    weights = commands.draw_weights(tmp_path / "net.caffemodel")
    video = loadmat(data / "dev_2.mat")
    changed = tmp_path / "data"
    changed.mkdir()
    savemat(changed / "dev_2.mat", {**video, "video": (np.float32(video["video"]) - np.float32(0.4)) / np.float32(0.2)})
    snapshot = tmp_path / "run/snapshots/emotion_iter_1.caffemodel"
    identity = TrainingIdentity(Net.SCRATCH, (), (), None, mean=0.4, std=0.2)
    claim(Run(tmp_path / "run", "emotion", "HQ"), identity, fresh=False, aside=None, say=commands.quiet)
    shutil.copy(weights, snapshot)
    predictions = []
    for number, options in enumerate(
        (("--weights", weights, "--data", changed), ("--weights", snapshot, "--data", data))
    ):
        assert evaluate("--names", "dev_2", "--out", tmp_path / str(number), *options) == 0
        predictions.append((tmp_path / str(number) / "predictions/dev_2.csv").read_text())
    assert predictions[0] == predictions[1]


def test_names_of_recordings_are_escaped_in_all_tables(data, weights, tmp_path):
    names = ("=1+1,2", "<img src=x>|*b*", "@3")
    (tmp_path / "data").mkdir()
    for name in names:
        shutil.copy(data / "dev_2.mat", tmp_path / "data" / f"{name}.mat")
    assert evaluate("--weights", weights, "--data", tmp_path / "data", "--out", tmp_path / "out", "--dev", *names) == 0
    with (tmp_path / "out" / "scores.csv").open(newline="") as file:
        rows = [row[0] for row in csv.reader(file)]
    assert {"'=1+1,2", "<img src=x>|*b*", "'@3"} < set(rows)
    text = (tmp_path / "out" / "scores.md").read_text()
    assert r"| &lt;img src=x&gt;\|\*b\* | 9 |" in text
    assert "<" not in text


def test_a_constant_net_has_an_undefined_cc(data, tmp_path, capsys):
    net = load_net(prototxt.path(DEPLOY), seed=0)
    for name, value in net.state_dict().items():
        if name.startswith("fc5"):
            value.fill_(0.25 if name.endswith("bias") else 0.0)
    save_weights(net, tmp_path / "constant.caffemodel")
    out = tmp_path / "out"
    assert evaluate("--weights", tmp_path / "constant.caffemodel", "--data", data, "--out", out) == 0
    scores = json.loads((out / "scores.json").read_text())["scores"]["concatenated"]
    gold = np.concatenate([loadmat(data / f"{name}.mat")["valence"][0] for name in FRAMES])
    assert (scores["rmse"], scores["cc"], scores["ccc"]) == (score(np.full(28, 0.25), gold).rmse, None, 0)
    assert ",nan," in (out / "scores.csv").read_text()


def test_missing_recordings_and_weights_give_one_line_and_no_folder(weights, data, tmp_path, capsys):
    out = tmp_path / "out"
    base = ("--weights", weights, "--data", data, "--out", out)
    missing = failed(capsys, *base, "--names", "dev_1", "dev_3", "dev_4")
    assert "dev_3.mat, dev_4.mat" in missing
    assert "it contains dev_1, dev_10, dev_2" in missing
    assert f"{tmp_path}: dev: no recording" in failed(capsys, "--weights", weights, "--data", tmp_path, "--out", out)
    missing = failed(capsys, "--weights", tmp_path / "no.caffemodel", "--data", data, "--out", out)
    assert "no.caffemodel" in missing
    assert missing.count("\n") == 1
    assert not out.exists()


def test_an_out_that_cannot_be_written_is_refused_before_any_prediction(weights, data, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("mine")
    base = ("--weights", weights, "--data", data, "--out")
    assert "a folder is expected" in failed(capsys, *base, tmp_path / "file" / "scores")
    monkeypatch.setattr("os.access", lambda *_: False)
    err = failed(capsys, *base, tmp_path / "out")
    assert "no write permission" in err
    assert "frames" not in err


def test_weights_of_another_net_are_refused(data, tmp_path, capsys):
    path = draw_weights(tmp_path / "sr.caffemodel", definition="matlabscripts/recon/deploy/SRCNN_net.prototxt")
    err = failed(capsys, "--weights", path, "--data", data, "--out", tmp_path / "out")
    assert "fc4.weight, fc4.bias, fc5.weight, fc5.bias" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"video": np.zeros((96, 64, 4))}, "96 x 64"),
        ({"valence": np.array([0, np.nan, 0, 0])}, "frame 2 is nan"),
        ({"video": np.full((96, 96, 4), np.nan)}, "frame 1 is nan"),
        ({"video_time": np.zeros(3)}, "4 labels and 3 times"),
    ],
)
def test_an_invalid_recording_gives_one_line_and_nothing_is_written(changed, problem, weights, tmp_path, capsys):
    valid = {"video": np.zeros((96, 96, 4)), "valence": np.arange(4.0), "video_time": np.arange(4) * 0.04}
    savemat(tmp_path / "dev_1.mat", {**valid, **changed})
    err = failed(capsys, "--weights", weights, "--data", tmp_path, "--out", tmp_path / "out")
    assert problem in err
    assert "dev_1.mat" in err
    assert not (tmp_path / "out").exists()


def test_a_timeline_without_the_time_of_a_frame_is_refused(weights, root, tmp_path, capsys):
    shutil.copytree(root / "data/gsd", tmp_path / "gsd")
    variables = loadmat(tmp_path / "gsd/dev_2.mat")
    savemat(tmp_path / "gsd/dev_2.mat", {name: np.delete(values, 5, axis=0) for name, values in variables.items()})
    command = ("--weights", weights, "--data", root / "data/raw_data/HQ", "--out", tmp_path / "out", "--names", "dev_2")
    assert "0.2 s" in failed(capsys, *command, "--timeline", tmp_path / "gsd")


def test_a_net_of_three_frames_and_files_of_triplets_are_refused_before_anything_is_written(
    weights, data, tmp_path, capsys
):
    net, three = write_three_frame_net(tmp_path)
    err = failed(capsys, "--weights", three, "--net", net, "--data", data, "--out", tmp_path / "out")
    assert "(1, 3, 96, 96)" in err
    assert "caffe-compat test" in err
    err = failed(capsys, "--weights", weights, "--data", tmp_path, "--out", tmp_path / "out")
    assert "data/raw_data/HQ" in err
    assert not (tmp_path / "out").exists()


def test_a_net_of_two_inputs_is_refused():
    with refused("wrong-count", field="--net"):
        Predictor(load_net(prototxt.path(DEPLOY), losses=True, seed=0))
