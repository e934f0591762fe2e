"""diff names the first thing that differs, and says nothing where nothing does."""

import json

import numpy as np
import pytest

from caffe_compat.build.weights import read_weights
from caffe_compat.cli import main
from caffe_compat.formats.files import write_weights_h5
from caffe_compat.tools.diff import Comparison, diff_weights
from tests.solver.case import NET, SOLVER, write_case

DEPLOY = """
name: "deploy"
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool1" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
"""


@pytest.fixture
def folder(folder):
    (folder / "a.prototxt").write_text(DEPLOY)
    return folder


@pytest.fixture
def diff(capsys):
    def run(*argv, code=1):
        capsys.readouterr()
        assert main(["diff", *map(str, argv)]) == code
        captured = capsys.readouterr()
        return captured.out.splitlines() if captured.out else captured.err

    return run


def test_the_first_field_that_differs_is_named_with_its_line(folder, diff):
    assert diff("a.prototxt", "a.prototxt", code=0) == ["the same: 5 layers compared"]
    text = DEPLOY.replace("kernel_size: 3", "kernel_size: 5 pad: 1").replace('top: "ip"\n', 'top: "ip2"\n')
    (folder / "b.prototxt").write_text(text)
    assert diff("a.prototxt", "b.prototxt") == [
        "first difference: layer 'conv1' (a.prototxt:4): convolution_param.kernel_size: [3] and [5]",
        "  layer 'conv1' (a.prototxt:4): convolution_param.pad: not set and [1]",
        "  layer 'ip' (a.prototxt:8): top: ['ip'] and ['ip2']",
        "3 differences; 5 layers are in both",
    ]


def test_layers_of_one_net_only_and_layers_that_moved_are_named(folder, diff):
    text = DEPLOY.splitlines()
    (folder / "b.prototxt").write_text("\n".join([*text[:5], *text[6:], 'layer { name: "new" type: "ReLU" }']))
    output = diff("a.prototxt", "b.prototxt")
    assert output[0] == "first difference: layer 'relu1' (a.prototxt:6): ReLU is only in the first"
    assert output[1].endswith("ReLU is only in the second")
    (folder / "c.prototxt").write_text("\n".join([*text[:5], text[6], text[5], *text[7:]]))
    assert any("is at another position in the second" in line for line in diff("a.prototxt", "c.prototxt"))


def test_an_old_net_equals_its_upgrade(folder, diff):
    (folder / "v1.prototxt").write_text('layers { name: "r" type: RELU bottom: "x" top: "y" }')
    (folder / "v2.prototxt").write_text('layer { name: "r" type: "ReLU" bottom: "x" top: "y" }')
    assert diff("v1.prototxt", "v2.prototxt", code=0) == ["the same: 1 layers compared"]


def test_solvers_are_compared_field_by_field(folder, diff):
    (folder / "a.solver").write_text(SOLVER)
    (folder / "b.solver").write_text(SOLVER.replace("0.01", "0.02"))
    assert diff("a.solver", "b.solver")[0] == "first difference: solver: base_lr: 0.01 and 0.02".replace(
        "0.01 and 0.02", "0.009999999776482582 and 0.019999999552965164"
    )


def weights(**changes):
    rng = np.random.default_rng(0)
    made = {name: [rng.standard_normal((3, 4)).astype("f4"), np.ones(3, "f4")] for name in ("one", "two", "three")}
    return made | changes


def test_weights_are_compared_blob_by_blob(folder, diff):
    blobs = weights()
    write_weights_h5("a.h5", blobs)
    assert diff("a.h5", "a.h5", code=0) == ["the same: 6 blobs compared"]
    other = weights()
    other["two"][0][1, 2] += 0.5
    other["three"] = [other["three"][0], np.ones(4, "f4")]
    write_weights_h5("b.h5", other)
    lines = diff("a.h5", "b.h5", "--json")
    result = json.loads(lines[0])
    assert (result["same"], result["compared"]) == (False, 6)
    assert [d["where"] for d in result["differences"]] == ["layer 'two': blobs[0]", "layer 'three': blobs[1]"] or [
        d["where"] for d in result["differences"]
    ] == ["layer 'three': blobs[1]", "layer 'two': blobs[0]"]
    two = next(d for d in result["differences"] if "two" in d["where"])
    assert two["max_abs"] == pytest.approx(0.5, rel=1e-6)
    assert (two["count"], two["size"]) == (1, 12)
    assert "at [1, 2]" in two["problem"]


def test_the_tolerance_is_relative_to_the_largest_magnitude():
    a, b = {"l": [np.array([1.0, 100.0])]}, {"l": [np.array([1.5, 100.0])]}
    assert diff_weights(a, b, tolerance=0.005).first is None
    assert diff_weights(a, b, tolerance=0.0049).first is not None
    assert diff_weights(a, b, tolerance=0.005).largest == pytest.approx(0.005)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ([np.nan, 1], [np.nan, 1], True),
        ([np.nan, 1], [1, 1], False),
        ([np.inf, 1], [np.inf, 1], True),
        ([np.inf, 1], [-np.inf, 1], False),
        ([], [], True),
        ([0.0, 0], [0, 0], True),
        ([0.0, 0], [0, 1e-30], False),
    ],
)
def test_nan_and_infinity_are_compared(a, b, same):
    comparison = Comparison("blobs")
    comparison.array("x", np.array(a, "f4"), np.array(b, "f4"), 0.0)
    assert (comparison.first is None) == same


def test_two_weights_on_one_input_name_the_first_blob(folder, diff):
    from caffe_compat import load_net, save_weights

    net = load_net("a.prototxt", seed=3)
    save_weights(net, "a.caffemodel")
    net.get_submodule("ip").bias.data[2] += 1
    save_weights(net, "b.caffemodel")
    assert diff("a.caffemodel", "a.caffemodel", "--model=a.prototxt", code=0)[0].startswith("the same: 3 blobs")
    lines = diff("a.caffemodel", "b.caffemodel", "--model=a.prototxt")
    assert lines[0].startswith(
        "first difference: blob 'ip' of layer 'ip' (InnerProduct): 2 of 10 values differ, by up to 1"
    )
    assert read_weights("b.caffemodel")["ip"][1][2] == 1


def test_two_nets_on_one_input_name_the_first_blob(folder, diff):
    (folder / "b.prototxt").write_text(DEPLOY.replace("kernel_size: 2", "pool: AVE kernel_size: 2"))
    assert diff("a.prototxt", "a.prototxt", "--run", code=0)
    lines = diff("a.prototxt", "b.prototxt", "--run")
    assert lines[0].startswith("first difference: blob 'pool1' of layer 'pool1' (Pooling)")
    assert len(lines) == 3
    (folder / "c.prototxt").write_text(DEPLOY.replace("dim: 2 dim: 3", "dim: 4 dim: 3"))
    assert "inputs = 'data'" in diff("a.prototxt", "c.prototxt", "--run")


def test_two_logs_name_the_first_number(folder, diff, capsys):
    write_case(folder)
    for name, more in (("a.log", ""), ("b.log", ""), ("c.log", "momentum: 0.8")):
        argv = [
            "train",
            "--solver=solver.prototxt",
            f"--log={name}",
            "--set=snapshot: 0 snapshot_after_train: false display: 2 " + more,
        ]
        assert main(argv) == 0
    assert diff("a.log", "b.log", code=0)[0].startswith("the same: ")
    assert diff("a.log", "c.log")[0].startswith("first difference: iteration 2, loss: 0.469404 and 0.4")
    (folder / "d.log").write_text("\n".join((folder / "a.log").read_text().splitlines()[:-8]))
    assert "only in the first, with" in diff("a.log", "d.log")[0]


def test_two_solver_states_are_compared(folder, diff):
    from caffe_compat.formats.files import SolverSnapshot, write_solverstate

    history = [np.ones((2, 3), "f4"), np.zeros(4, "f4")]
    write_solverstate(SolverSnapshot(10, "", 1, history), "a.solverstate")
    write_solverstate(SolverSnapshot(10, "", 1, history), "b.solverstate.h5", "HDF5")
    assert diff("a.solverstate", "b.solverstate.h5", code=0) == ["the same: 2 arrays compared"]
    history[1][2] = 7
    write_solverstate(SolverSnapshot(11, "", 1, history), "c.solverstate")
    lines = diff("a.solverstate", "c.solverstate")
    assert lines[0] == "first difference: iter: 10 and 11"
    assert lines[1].startswith("  history[1]: 1 of 4 values differ, by up to 7")


def test_a_log_becomes_tables_and_a_plot(folder, capsys):
    write_case(folder, net=NET)
    assert main(["train", "--solver=solver.prototxt", "--log=run.log"]) == 0
    shown = capsys.readouterr().err
    assert main(["parse-log", "run.log", "--plot=run.png"]) == 0
    train = (folder / "run.log.train").read_text().splitlines()
    assert train[0] == "NumIters,Seconds,LearningRate,SmoothedLoss,loss"
    assert [line.split(",")[0] for line in train[1:]] == ["0", "4", "8"]
    assert float(train[1].split(",")[2]) == 0.01
    test = (folder / "run.log.test").read_text().splitlines()
    assert [line.split(",")[0] for line in test[1:]] == ["0", "6", "12"]
    assert f"loss = {float(test[3].split(',')[-1]):g}" in shown
    assert (folder / "run.png").read_bytes().startswith(b"\x89PNG")


def test_seconds_continue_past_midnight_and_new_year(folder):
    from caffe_compat.tools.logs import read_log

    line = "I{} 1 solver.cpp:239] Iteration {} (1 iter/s, 1s/1 iters), loss = 1e-3\n"
    (folder / "y.log").write_text(line.format("1231 23:59:50.000000", 0) + line.format("0101 00:00:10.500000", 10))
    assert [entry.seconds for entry in read_log("y.log")] == [0.0, 20.5]
