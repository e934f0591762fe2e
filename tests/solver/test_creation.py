"""The log while nets are made: Caffe's lines, in Caffe's order (net.cpp, read off its source)."""

import io
from pathlib import Path

import pytest

from caffe_compat.cli import main
from caffe_compat.formats.text import parse_text
from caffe_compat.graph.graph import build_graph
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver.creation import after, before
from caffe_compat.solver.definitions import prepare_in_state
from caffe_compat.solver.log import CaffeLog
from caffe_compat.tools.logs import read_log

NET = """
name: "all"
layer { name: "in" type: "Input" top: "x" top: "y" input_param { shape { dim: 2 dim: 3 } shape { dim: 2 } } }
layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" param { name: "w" } inner_product_param { num_output: 3 } }
layer { name: "r" type: "ReLU" bottom: "a" top: "a" }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" param { name: "w" } inner_product_param { num_output: 3 } }
layer { name: "skip" type: "Power" bottom: "a" top: "p" include { stage: "deploy" } include { min_level: 2 } }
layer { name: "none" type: "Power" bottom: "a" top: "p" exclude { phase: TRAIN } }
layer { name: "here" type: "Power" bottom: "a" top: "p" exclude { phase: TEST } exclude { not_stage: "deploy" max_level: -1 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "b" bottom: "y" loss_weight: 0.5 }
"""
LINES = """
layer_factory.hpp:77 Creating layer in
net.cpp:86 Creating Layer in
net.cpp:382 in -> x
net.cpp:382 in -> y
net.cpp:124 Setting up in
net.cpp:131 Top shape: 2 3 (6)
net.cpp:131 Top shape: 2 (2)
net.cpp:139 Memory required for data: 32
layer_factory.hpp:77 Creating layer a
net.cpp:86 Creating Layer a
net.cpp:408 a <- x
net.cpp:382 a -> a
net.cpp:124 Setting up a
net.cpp:131 Top shape: 2 3 (6)
net.cpp:139 Memory required for data: 56
layer_factory.hpp:77 Creating layer r
net.cpp:86 Creating Layer r
net.cpp:408 r <- a
net.cpp:369 r -> a (in-place)
net.cpp:124 Setting up r
net.cpp:131 Top shape: 2 3 (6)
net.cpp:139 Memory required for data: 80
layer_factory.hpp:77 Creating layer a_r_0_split
net.cpp:86 Creating Layer a_r_0_split
net.cpp:408 a_r_0_split <- a
net.cpp:382 a_r_0_split -> a_r_0_split_0
net.cpp:382 a_r_0_split -> a_r_0_split_1
net.cpp:124 Setting up a_r_0_split
net.cpp:131 Top shape: 2 3 (6)
net.cpp:131 Top shape: 2 3 (6)
net.cpp:139 Memory required for data: 128
layer_factory.hpp:77 Creating layer b
net.cpp:86 Creating Layer b
net.cpp:408 b <- a_r_0_split_0
net.cpp:382 b -> b
net.cpp:124 Setting up b
net.cpp:131 Top shape: 2 3 (6)
net.cpp:139 Memory required for data: 152
net.cpp:467 Sharing parameters 'w' owned by layer 'a', param index 0
layer_factory.hpp:77 Creating layer here
net.cpp:86 Creating Layer here
net.cpp:408 here <- a_r_0_split_1
net.cpp:382 here -> p
net.cpp:124 Setting up here
net.cpp:131 Top shape: 2 3 (6)
net.cpp:139 Memory required for data: 176
layer_factory.hpp:77 Creating layer loss
net.cpp:86 Creating Layer loss
net.cpp:408 loss <- b
net.cpp:408 loss <- y
net.cpp:382 loss -> (automatic)
layer_factory.hpp:77 Creating layer loss
net.cpp:124 Setting up loss
net.cpp:131 Top shape: (1)
net.cpp:134     with loss weight 0.5
net.cpp:139 Memory required for data: 180
net.cpp:200 loss needs backward computation.
net.cpp:202 here does not need backward computation.
net.cpp:200 b needs backward computation.
net.cpp:200 a_r_0_split needs backward computation.
net.cpp:200 r needs backward computation.
net.cpp:200 a needs backward computation.
net.cpp:202 in does not need backward computation.
net.cpp:244 This network produces output p
net.cpp:257 Network initialization done.
"""


@pytest.fixture
def made():
    return prepare_in_state(parse_text(NET, pb.NetParameter), "TRAIN", pb.NetState(level=0))


def test_every_layer_is_logged_as_caffe_does(made):
    assert [f"{place} {text}" for place, text in after(build_graph(made))] == LINES.strip().splitlines()


def test_the_rules_that_leave_layers_out_come_before_the_net(made):
    *rules, (place, text) = before(made)
    assert rules == [
        ("net.cpp:332", "The NetState did not contain stage 'deploy' specified by a rule in layer skip"),
        ("net.cpp:306", "The NetState level (0) is above the min_level (2) specified by a rule in layer skip"),
        ("net.cpp:296", "The NetState phase (0) differed from the phase (1) specified by a rule in layer here"),
        ("net.cpp:316", "The NetState level (0) is above the max_level (-1) specified by a rule in layer here"),
    ]
    assert place == "net.cpp:53"
    first = 'Initializing net from parameters: \nname: "all"\nstate {\n  phase: TRAIN\n  level: 0\n}\nlayer {\n  name: "in"\n'
    assert text.startswith(first)
    assert text.endswith("  loss_weight: 0.5\n}\n")
    assert 'name: "skip"' not in text


def test_lines_that_are_not_logged_are_not_made():
    def lines():
        raise AssertionError("made")
        yield

    CaffeLog().lines(lines())
    CaffeLog(io.StringIO(), least=1).lines(lines())


def test_training_logs_the_making_of_its_nets_and_the_log_still_reads(case, capsys):
    assert main(["train", "--solver=solver.prototxt", "--log=run.log", "--max_iter=5"]) == 0
    text = Path("run.log").read_text()
    assert text == capsys.readouterr().err
    texts = [line.partition("] ")[2] for line in text.splitlines() if line.startswith("I")]
    order = [
        "Initializing solver from parameters: ",
        "Creating training net from net file: net.prototxt",
        "The NetState phase (0) differed from the phase (1) specified by a rule in layer feed",
        "Initializing net from parameters: ",
        "Creating Layer feed",
        "Top shape: 4 3 (12)",
        "ip needs backward computation.",
        "This network produces output loss",
        "Network initialization done.",
        "Creating test net (#0) specified by net file: net.prototxt",
        "Top shape: 5 3 (15)",
        "Solver scaffolding done.",
        "Starting Optimization",
        "Solving tiny",
    ]
    positions = [texts.index(line) for line in order]
    assert positions == sorted(positions)
    assert texts.count("Network initialization done.") == 2
    assert 'train_state {\n  level: 0\n  stage: ""\n}\n' in text
    assert {entry.kind for entry in read_log("run.log")} == {"loss", "lr", "train", "test"}


@pytest.mark.parametrize("command", ["test", "time"])
def test_test_and_time_log_the_making_of_their_net(case, capsys, command):
    assert main(["train", "--solver=solver.prototxt", "--max_iter=1"]) == 0
    capsys.readouterr()
    argv = [command, "-model=net.prototxt", "-weights=snap_iter_1.caffemodel", "-iterations=1", "-phase=TEST"]
    assert main(argv) == 0
    text = capsys.readouterr().err
    assert 'state {\n  phase: TEST\n  level: 0\n  stage: ""\n}\n' in text
    assert "net.cpp:86] Creating Layer ip\n" in text
    assert text.index("Creating Layer ip") < text.index("Network initialization done.") < text.lower().index("loss: ")


@pytest.mark.parametrize(
    "argv", [["-v=1"], ["-v", "1"], ["-logtostderr", "-stderrthreshold=0"], ["-alsologtostderr=1", "-vmodule=net=2"]]
)
def test_glogs_flags_are_taken_before_and_after_the_command(capsys, argv):
    for words in ([*argv, "device_query"], ["device_query", *argv]):
        assert main(words) in (0, 1)  # 1 where there is no GPU to ask about
        assert "Querying GPUs all" in capsys.readouterr().err


def test_minloglevel_and_log_dir_are_heeded_as_flags_and_as_variables(case, monkeypatch, capsys):
    train = ["train", "--solver=solver.prototxt", "--max_iter=1"]
    assert main([*train, "-minloglevel=1"]) == 0
    assert capsys.readouterr().err == ""
    (case / "logs").mkdir()
    assert main([*train, "-log_dir", "logs", "-logtostderr"]) == 0  # as in glog: to standard error alone
    assert list((case / "logs").iterdir()) == []
    monkeypatch.setenv("GLOG_log_dir", "logs")
    assert main(train) == 0
    assert (case / "logs" / "caffe.INFO").read_text() in capsys.readouterr().err
    monkeypatch.setenv("GLOG_minloglevel", "2")
    assert main(train) == 0
    assert capsys.readouterr().err == ""
    assert main([*train, "-minloglevel=0"]) == 0
    assert "Optimization Done." in capsys.readouterr().err
