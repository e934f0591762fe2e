"""No command writes over a file that it reads, by its name or by a link."""

import importlib
from argparse import ArgumentParser
from pathlib import Path

import pytest

from caffe_compat.build.net import load_net
from caffe_compat.build.weights import save_weights
from caffe_compat.cli import main
from caffe_compat.cli.parser import COMMANDS as COMMAND_TABLE
from caffe_compat.cli.parser import OUTPUTS
from tests.kept_inputs import ALIASES, kept

NET = """
input: "data" input_shape { dim: 1 dim: 2 }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }
"""
WEIGHTS, DEFINITION, LOG = "net.caffemodel", "net.prototxt", "train.log"
COMMANDS = {
    "convert to ONNX": ("net.onnx", "convert net.onnx OUT --model net.prototxt"),
    "convert": (WEIGHTS, "convert net.caffemodel OUT --model net.prototxt"),
    "convert --preprocess": (DEFINITION, "convert net.caffemodel OUT --model net.prototxt"),
    "finetune_report": (WEIGHTS, "finetune_report --model net.prototxt --weights net.caffemodel --output OUT"),
    "upgrade": (WEIGHTS, "upgrade net.caffemodel OUT"),
    "upgrade_net_proto_text": (DEFINITION, "upgrade_net_proto_text net.prototxt OUT"),
    "upgrade_net_proto_binary": (WEIGHTS, "upgrade_net_proto_binary net.caffemodel OUT"),
    "upgrade_solver_proto_text": ("solver.prototxt", "upgrade_solver_proto_text solver.prototxt OUT"),
    "draw": (DEFINITION, "draw net.prototxt OUT --format dot"),
    "train --log": ("solver.prototxt", "train --solver=solver.prototxt --log=OUT"),
    "train --log, weights": (
        WEIGHTS,
        "train --solver=solver.prototxt --weights=other.caffemodel,net.caffemodel --log=OUT",
    ),
    "parse_log --plot": (LOG, "parse_log train.log . --plot OUT"),
    "survey": ("shapes.txt", "survey . --shapes shapes.txt --out OUT"),
    "compute_image_mean": ("db/data.mdb", "compute_image_mean db OUT"),
    "convert_imageset": ("list.txt", "convert_imageset ./ list.txt OUT"),
    "extract_features": (WEIGHTS, "extract_features net.caffemodel net.prototxt ip OUT 1 hdf5"),
}


def prepare(folder):
    (folder / "net.prototxt").write_text(NET)
    save_weights(load_net(folder / "net.prototxt"), folder / "net.caffemodel")
    save_weights(load_net(folder / "net.prototxt"), folder / "other.caffemodel")
    (folder / "net.onnx").write_bytes((folder / "net.caffemodel").read_bytes())
    (folder / "solver.prototxt").write_text('net: "net.prototxt" base_lr: 1 lr_policy: "fixed" max_iter: 1\n')
    (folder / "list.txt").write_text("a.png 0\n")
    (folder / "shapes.txt").write_text("*.prototxt data=1,2\n")
    (folder / LOG).write_text("I0101 00:00:00.000000 1 solver.cpp:1] Iteration 0, loss = 1\n")
    (folder / "db").mkdir()
    (folder / "db/data.mdb").write_bytes(b"database")


@ALIASES
@pytest.mark.parametrize("name", COMMANDS)
def test_an_input_is_not_replaced(name, alias, folder, capsys):
    prepare(folder)
    source, words = COMMANDS[name]
    with kept(source, alias) as out:
        assert main([out if word == "OUT" else word.replace("OUT", out) for word in words.split(" ")]) == 1
        error = capsys.readouterr().err
        assert "would replace a file that is read" in error or "exists" in error


def test_a_file_whose_name_follows_from_an_input_is_not_replaced(folder, capsys):
    log = "I0101 00:00:00.000000 1 solver.cpp:1] Iteration 0, loss = 1\nI0101 00:00:01.000000 1 solver.cpp:1]     Train net output #0: loss = 1\n"
    (folder / LOG).write_text(log)
    (folder / f"{LOG}.train").symlink_to(LOG)
    assert main(["parse_log", LOG, "."]) == 1
    assert "would replace a file that is read" in capsys.readouterr().err
    assert (folder / LOG).read_text() == log


@pytest.mark.parametrize(("iteration", "code"), [(1, 1), (2, 1), (3, 0), (10, 0)])
def test_initial_weights_that_a_snapshot_would_replace_are_refused_first(iteration, code, folder, capsys):
    loss = 'layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "data" top: "loss" }'
    data = 'layer { name: "data" type: "DummyData" top: "data" dummy_data_param { shape { dim: 1 dim: 2 } } }'
    (folder / "net.prototxt").write_text(data + NET.split("}", 1)[1] + loss)
    text = 'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 2 snapshot: 1 snapshot_prefix: "run"'
    (folder / "solver.prototxt").write_text(text)
    assert main(["train", "--solver=solver.prototxt"]) == 0
    weights = Path(f"run_iter_{iteration}.caffemodel")
    if iteration > 2:
        Path("run_iter_2.caffemodel").rename(weights)
    before = weights.read_bytes()
    capsys.readouterr()
    assert main(["train", "--solver=solver.prototxt", f"--weights={weights}"]) == code
    assert ("would replace a file that is read" in capsys.readouterr().err) == bool(code)
    assert weights.read_bytes() == before


def test_every_command_that_writes_names_its_outputs():
    silent = {"test", "time", "device_query", "lint", "diff", "show", "layers"}
    assert set(OUTPUTS) | silent == set(COMMAND_TABLE)
    for command, outputs in OUTPUTS.items():
        part = ArgumentParser()
        importlib.import_module(f"caffe_compat.cli.{COMMAND_TABLE[command][1]}").define(part)
        assert set(outputs) <= {action.dest for action in part._actions}, command


def test_an_output_of_an_earlier_run_is_replaced(folder):
    prepare(folder)
    for _ in range(2):
        assert main(["upgrade", "net.caffemodel", "new.caffemodel"]) == 0
