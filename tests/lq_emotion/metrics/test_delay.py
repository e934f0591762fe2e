"""The raters' delay is compensated exactly once, whichever commands are given it."""

import json

import numpy as np
import pytest

from lq_emotion.nets.names import Method
from lq_emotion.studies.robust_lq.plan import StudyPlan
from lq_emotion.studies.robust_lq.stages import stages
from matlab_ports.matfile import loadmat
from tests.lq_emotion.commands import draw_weights, failed, linear_net, quiet, run
from tests.lq_emotion.datasets.avec import trees
from tests.videos import write_video

pytest.importorskip("av", reason="needs PyAV (the extra `video`)")
FRAMES, LATE = 200, 10  # frames: 0.4 s


def expression(seed):
    """The expression, here the brightness of a gray frame: (FRAMES,), -1 .. 1; constant where a shift repeats values."""
    noise = np.convolve(np.random.default_rng(seed).standard_normal(FRAMES + 100), np.hanning(51), "same")[50:-50]
    values = np.tanh(noise / noise.std())
    values[: 2 * LATE], values[-2 * LATE :] = values[2 * LATE], values[-2 * LATE]
    return values


def write_recording(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = [np.full((160, 160, 3), round(128 + 100 * value), np.uint8) for value in values]
    write_video(path, frames, codec="libx264", pix_fmt="yuv420p", options={"qp": "0"})


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Recordings whose gold standard is the expression, 0.4 s late."""
    root = tmp_path_factory.mktemp("late") / "AVEC_2016"
    trees.avec(root, ["train_1", "dev_1", "dev_2"], frames=FRAMES)
    for seed, name in enumerate(["train_1", "dev_1", "dev_2"]):
        values = expression(seed)
        gold = np.concatenate([np.full(LATE, values[0]), values[:-LATE]])
        write_recording(root / "recordings_video" / f"{name}.mp4", values)
        labels = trees.arff(name, trees.grid(FRAMES), gold.tolist())
        trees.put(root / "ratings_gold_standard/valence" / f"{name}.arff", labels)
        boxes = "".join(f"{time},10,10,120,120\n" for time in trees.grid(FRAMES))
        trees.put(root / "bbox" / f"{name}.csv", "time,left,top,width,height\n" + boxes)
    return root


@pytest.fixture(scope="module")
def roots(tree, tmp_path_factory):
    """Recordings prepared without and with compensation of the delay."""
    folders = {}
    for delay in ("0", "0.4"):
        folders[delay] = tmp_path_factory.mktemp("root") / delay
        options = ("--recordings", tree, "--out", folders[delay], "--no-figures", "--delay", delay)
        assert run("data", "prepare", *options) == 0
    return folders


@pytest.fixture(scope="module")
def oracle(tmp_path_factory):
    """A net that reads the expression from the mean of a frame."""
    slope, level = 219 * 100 / 255**2, (16 + 219 * 128 / 255) / 255  # Y of 128 + 100 v
    return linear_net(tmp_path_factory.mktemp("oracle"), 96, weight=1 / (9216 * slope), bias=-level / slope)


def evaluated(oracle, root, out, *more):
    assert run("study", "evaluate", *oracle, "--data", root / "data/raw_data/HQ", "--out", out, *more) == 0
    return json.loads((out / "scores.json").read_text())


@pytest.mark.parametrize(
    ("prepared", "options", "least"),
    [("0", (), 0.0), ("0", ("--delay=0.4",), 0.99), ("0.4", (), 0.99), ("0.4", ("--delay=0.4",), 0.99)],
)
def test_evaluate_compensates_a_delay_once(roots, oracle, tmp_path, prepared, options, least):
    results = evaluated(oracle, roots[prepared], tmp_path, *options)
    ccc = results["scores"]["concatenated"]["ccc"]
    assert ccc > least
    assert (ccc < 0.95) == (least == 0)
    assert results["prepared_delay"] == float(prepared)


def test_crops_record_the_shift_of_their_labels_and_gsd_files_are_not_shifted(roots):
    whole, crops = (loadmat(roots["0.4"] / "data" / kind / "dev_1.mat") for kind in ("gsd", "raw_data/HQ"))
    plain = loadmat(roots["0"] / "data/raw_data/HQ/dev_1.mat")
    gold = whole["gsd"].ravel()
    assert gold.tolist() == plain["valence"].ravel().tolist()
    assert crops["valence"].ravel().tolist() == [*gold[LATE:], *[gold[-1]] * LATE]
    assert crops["delay"].tolist() == [[0.4]]
    assert "delay" not in plain


@pytest.mark.parametrize("prepared", ["0", "0.4"])
def test_avecs_search_finds_the_delay(roots, oracle, tmp_path, capsys, prepared):
    results = evaluated(oracle, roots[prepared], tmp_path, "--search-delay", "train")
    assert results["delay"] == 0.4
    assert list(results["delay_ccc"]) == [f"{0.4 * step:g}" for step in range(21)]
    assert results["delay_learnt_on"] == ["train_1"]
    assert results["scores"]["concatenated"]["ccc"] > 0.99
    assert "0.4 s has the highest CCC on train_1" in (tmp_path / "scores.md").read_text()
    assert "warning" not in capsys.readouterr().out


def test_the_timeline_has_the_labels_shifted_as_in_the_crops(roots, oracle, tmp_path):
    evaluated(oracle, roots["0.4"], tmp_path, "--names", "dev_1", "--timeline", roots["0.4"] / "data/gsd")
    lines = (tmp_path / "predictions/dev_1.csv").read_text().splitlines()
    labels = loadmat(roots["0.4"] / "data/raw_data/HQ/dev_1.mat")["valence"].ravel()
    assert [float(line.split(",")[2]) for line in lines[1:]] == labels.tolist()


@pytest.mark.parametrize(("prepared", "options"), [("0", ("--delay=0.4",)), ("0.4", ())])
def test_rd_compensates_a_delay_once(roots, oracle, tmp_path, prepared, options):
    weights = ("--weights", f"oracle={oracle[1]}", *oracle[2:])
    sweep = ("--scales", 3, "--codecs", "x264", "--qps", 24, "--data", roots[prepared] / "data/raw_data/HQ")
    assert run("study", "rd", *weights, *sweep, "--names", "dev_1", "--out", tmp_path, *options) == 0
    results = json.loads((tmp_path / "rd.json").read_text())
    assert results["delay"] == 0.4
    assert all(point["score"]["ccc"] > 0.98 for point in results["points"])


@pytest.mark.slow
def test_verify_scores_against_labels_that_are_not_shifted(roots, tmp_path):
    """The authors trained and scored with labels that were not shifted."""
    weights, scores = draw_weights(tmp_path / "HQ.caffemodel"), {}
    for prepared, root in roots.items():
        out = tmp_path / f"{prepared}.json"
        files = ("--weights", weights, "--recordings", root, "--out", out)
        assert run("verify", *files, "--device=cpu", "--dev", "dev_1") == 0
        scores[prepared] = json.loads(out.read_text())["files"][0]["scores"][0]["measured"]
    assert scores["0"]["cc"] == pytest.approx(scores["0.4"]["cc"], abs=0.05)


def test_recordings_prepared_with_two_delays_are_refused(tree, roots, oracle, tmp_path, capsys):
    both = tmp_path / "data/raw_data/HQ"
    both.mkdir(parents=True)
    for name, delay in (("dev_1", "0"), ("dev_2", "0.4")):
        (both / f"{name}.mat").symlink_to(roots[delay] / f"data/raw_data/HQ/{name}.mat")
    stderr = failed(capsys, "study", "evaluate", *oracle, "--data", both, "--out", tmp_path / "out")
    assert all(part in stderr for part in ("dev_2.mat", "delay = 0.4", "dev_1"))


@pytest.mark.slow
def test_table_prepares_with_the_delay(tree, tmp_path):
    prepare, *_ = stages(StudyPlan(recordings=tree, out=tmp_path, rows=(Method.HR,), scales=(3,), delay=0.4))
    assert prepare.settings["delay"] == 0.4
    prepare.run(quiet)
    assert loadmat(tmp_path / "data/raw_data/LR3/dev_1.mat")["delay"].tolist() == [[0.4]]
