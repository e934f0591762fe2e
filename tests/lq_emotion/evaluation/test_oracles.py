"""A net that knows the labels, and one that always says the same, have the scores they must by every way to a score."""

import json
import math
from pathlib import Path

import h5py
import numpy as np
import pytest

from caffe_compat import load_net
from caffe_compat.build.weights import save_weights
from caffe_compat.cli import main as caffe_compat
from lq_emotion.crops.h5 import H5Settings, make_h5
from lq_emotion.datasets.avec.partitions import chosen_partitions
from lq_emotion.evaluation.evaluate import evaluate
from lq_emotion.evaluation.settings import EvaluationSettings
from lq_emotion.nets.names import Method
from lq_emotion.studies.robust_lq import work
from lq_emotion.studies.robust_lq.cells import cells, weights_of
from lq_emotion.studies.robust_lq.plan import Part, StudyPlan
from lq_emotion.studies.robust_lq.rate_distortion import SWEEP, SweepSettings
from lq_emotion.studies.robust_lq.rd_results import Model
from tests.lq_emotion.commands import linear_net, quiet, save_crops

FRAMES = {"P1": 40, "P2": 30, "dev_1": 50, "dev_2": 20}
SIDE = 24  # pixels of a crop
CONSTANT = 0.25
NETS = {"oracle": (1 / SIDE**2, 0.0), "constant": (0.0, CONSTANT)}  # weight of each pixel, bias
LATE = 5  # frames: 0.2 s


def gold(name, dimension="valence"):
    """Labels in steps that survive 8 bits."""
    phase = sum(map(ord, name + dimension))
    values: np.ndarray = np.round(127.5 + 100 * np.sin(np.arange(FRAMES[name]) / 7 + phase)) / 255
    return values


def late(values, delay):
    """Labels that are late by frames repeat their first value."""
    return np.r_[[values[0]] * delay, values[: len(values) - delay]]


def write(root, dimension="valence", *, delay=0, side=SIDE, partitions=None):
    """Write crops whose every pixel is the label before its delay."""
    folder = root / "data" / "raw_data" / "HQ"
    for name, count in FRAMES.items():
        values = gold(name, dimension)
        video = np.broadcast_to(values, (side, side, count))
        save_crops(folder / f"{name}.mat", video, **{dimension: late(values, delay)})
    if partitions is not None:
        (root / "data/partitions.csv").write_text(partitions)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write(tmp_path_factory.mktemp("crops"))


@pytest.fixture(params=NETS)
def net(request, tmp_path):
    """The name of a net, and the options for it."""
    weight, bias = NETS[request.param]
    return request.param, linear_net(tmp_path, SIDE, weight=weight, bias=bias)


def require(name, scores, labels):
    """Check scores in the convention whose perfect CCC is 1."""
    if name == "oracle":
        assert scores["rmse"] == pytest.approx(0, abs=1e-5)
        assert scores["cc"] == pytest.approx(1, abs=1e-6)
        assert scores["ccc"] == pytest.approx(1, abs=1e-6)
    else:
        rmse = math.sqrt(np.mean((np.concatenate(labels) - CONSTANT) ** 2))
        assert scores["rmse"] == pytest.approx(rmse, abs=1e-6)
        assert (scores["cc"], scores["ccc"]) == (None, 0)


def evaluated(options, folder, out, **chosen):
    _, weights, _, definition, _ = options
    more = {"convention": "population", "plots": False, "device": "cpu", **chosen}
    settings = EvaluationSettings(weights=weights, data=folder, out=out, net=definition, **more)
    (results,) = evaluate(settings, quiet)
    return results.to_json()["scores"]


STORED = "name,partition\nP1,train\nP2,dev\ndev_1,\ndev_2,dev\n"


@pytest.mark.parametrize(
    ("names", "written", "chosen"),
    [
        (("dev_1", "dev_2"), {}, {}),
        (("P2", "dev_1"), {}, {"partitions": chosen_partitions(dev=["P2", "dev_1"])}),
        (("P1",), {}, {"names": ("P1",)}),
        pytest.param(("P2", "dev_2"), {"partitions": STORED}, {}, id="stored partitions"),
        pytest.param(("dev_1", "dev_2"), {"dimension": "arousal"}, {}, id="arousal"),
        pytest.param(("dev_1", "dev_2"), {"delay": LATE}, {"delay": 0.04 * LATE}, id="late labels"),
    ],
)
def test_evaluate_scores_the_chosen_recordings(net, tmp_path, names, written, chosen):
    scores = evaluated(net[1], write(tmp_path / "root", **written), tmp_path / "out", **chosen)
    assert set(scores) == {*names, "concatenated", "mean"}
    labels = [late(gold(name, written.get("dimension", "valence")), written.get("delay", 0)) for name in names]
    for part, expected in (("concatenated", labels), *zip(names, ([one] for one in labels), strict=True)):
        require(net[0], scores[part], expected)


def test_rd_scores_what_the_codec_leaves(net, data, tmp_path):
    pytest.importorskip("av")
    name, (_, weights, _, definition, *_) = net
    sweep = SweepSettings(
        models=(Model("it", weights),), net=definition, data=data, out=tmp_path / "rd", scales=(3,), codecs=("x264",),
        qps=(0,), convention="population", names=("P2", "dev_2"), device="cpu",
    )  # fmt: skip
    SWEEP.run(sweep, quiet)
    points = json.loads((tmp_path / "rd/rd.json").read_text())["points"]
    assert [point["codec"] for point in points] == ["none", "x264"]
    for point in points:
        require(name, point["score"], [gold("P2"), gold("dev_2")])


def test_the_study_scores_its_cells(net, data, tmp_path):
    root = data.parents[2]
    plan = StudyPlan(
        recordings=root,
        out=tmp_path,
        parts=(Part.TABLE,),
        rows=(Method.HR,),
        scales=(3,),
        partitions=chosen_partitions(dev=["P2"]),
        iterations=1,
        device="cpu",
    )
    (cell,) = cells(plan)
    (tmp_path / "data").symlink_to(root / "data")
    weights = weights_of(plan, cell.training)
    weights.parent.mkdir(parents=True)
    Path(net[1][1]).rename(weights)
    Path(net[1][3]).rename(weights.parent.parent / "deploy.prototxt")
    work.do_evaluate(plan, cell, print)
    content = json.loads((tmp_path / cell.scores / "scores.json").read_text())
    assert list(content["scores"]) == ["P2", "concatenated", "mean"]
    require(net[0], content["concatenated_by_convention"]["population"], [gold("P2")])


TRIPLETS = """
layer {{ name: "data" type: "HDF5Data" top: "data" top: "label" hdf5_data_param {{ source: "{list}" batch_size: {batch} }} }}
layer {{ name: "middle" type: "Slice" bottom: "data" top: "before" top: "now" top: "after" slice_param {{ axis: 1 }} }}
layer {{ name: "fc" type: "InnerProduct" bottom: "now" top: "fc" inner_product_param {{ num_output: 1 }} }}
layer {{ name: "loss" type: "EuclideanLoss" bottom: "fc" bottom: "label" top: "loss" }}
layer {{ name: "unused" type: "Silence" bottom: "before" bottom: "after" }}
"""


@pytest.mark.parametrize("name", NETS)
def test_caffe_compat_test_scores_triplets(name, tmp_path, capsys):
    write(tmp_path, side=96)
    settings = H5Settings(
        triplets="clean",
        label_frame="middle",
        keep_remainder=True,
        train=("P1",),
        test=("dev_2",),
        chunk=FRAMES["dev_2"] - 2,
    )
    make_h5(tmp_path, settings, say=quiet)
    folder = tmp_path / "h5_files" / settings.folder()
    with h5py.File(folder / "test_1.h5") as file:
        frames, labels = file["data"][...], file["label"][...].ravel()
    assert frames.shape == (18, 3, 96, 96)
    np.testing.assert_allclose(np.sort(labels), np.sort(gold("dev_2")[1:-1]), atol=1e-7)
    (tmp_path / "net.prototxt").write_text(TRIPLETS.format(list=folder / "test.txt", batch=len(labels)))
    net = load_net(tmp_path / "net.prototxt", losses=True, seed=0)
    weight, bias = NETS[name]
    net.state_dict()["fc.weight"].fill_(weight * (SIDE / 96) ** 2)
    net.state_dict()["fc.bias"].fill_(bias)
    save_weights(net, tmp_path / "it.caffemodel")
    command = ["test", "-model", tmp_path / "net.prototxt", "-weights", tmp_path / "it.caffemodel", "-iterations", 1]
    assert caffe_compat([str(word) for word in command]) == 0
    out = capsys.readouterr()
    line = next(line for line in (out.out + out.err).splitlines() if "Loss:" in line)
    expected = 0 if name == "oracle" else np.mean((labels - CONSTANT) ** 2) / 2
    assert float(line.rpartition(":")[2]) == pytest.approx(expected, abs=1e-6)
