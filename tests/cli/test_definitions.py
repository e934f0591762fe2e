"""caffe-compat convert, upgrade, show, layers."""

import json

import numpy as np
import pytest
import torch

from caffe_compat.build.weights import read_weights
from caffe_compat.cli import main
from caffe_compat.formats.files import read_net, read_solver, read_weights_h5
from caffe_compat.layers import FORK_REGISTRY, REGISTRY
from lq_emotion.prototxt import path as definition
from tests.solver.case import SOLVER

CNN_D = "experiments/network/model_1F_CNN+D.prototxt"


@pytest.fixture
def folder(case):
    assert main(["train", "--solver=solver.prototxt", "--max_iter=2"]) == 0
    return case


@pytest.fixture
def output(capsys):
    def run(*argv):
        capsys.readouterr()
        assert main(argv) == 0
        return capsys.readouterr().out

    return run


def test_weights_go_to_pytorch_and_back_bit_for_bit(folder, output):
    assert "a PyTorch state_dict" in output("convert", "snap_iter_2.caffemodel", "w.pt", "--model=net.prototxt")
    state = torch.load("w.pt", weights_only=True)
    blobs = read_weights("snap_iter_2.caffemodel")
    assert sorted(state) == ["ip.bias", "ip.weight"]
    assert np.array_equal(state["ip.weight"].numpy(), blobs["ip"][0])
    output("convert", "w.pt", "back.caffemodel", "--model=net.prototxt")
    back = read_weights("back.caffemodel")
    assert all(np.array_equal(a, b) for a, b in zip(back["ip"], blobs["ip"], strict=True))
    output("convert", "back.caffemodel", "w.caffemodel.h5", "--model", "net.prototxt")
    assert np.array_equal(read_weights_h5("w.caffemodel.h5")["ip"][1], blobs["ip"][1])


def test_a_caffemodel_goes_to_hdf5_without_its_net(folder, output):
    output("convert", "snap_iter_2.caffemodel", "w.h5")
    assert np.array_equal(read_weights_h5("w.h5")["ip"][0], read_weights("snap_iter_2.caffemodel")["ip"][0])


def test_show_counts_the_authors_parameters(output):
    text = output("show", str(definition(CNN_D)), "--input", "data=2,1,96,96", "--input=label=2,1", "--phase=TRAIN")
    assert text.splitlines()[-2].split()[-1] == "2,946,649"
    row = next(line for line in text.splitlines() if line.startswith("pool3"))
    assert row.split() == ["pool3", "Pooling", "pool3", "2x256x5x5", "50.0", "KiB"]
    shown = json.loads(output("show", str(definition(CNN_D)), "--input=data=2x1x96x96", "--input=label=2x1", "--json"))
    assert shown["parameters"] == 2946649


def test_show_lists_weights_of_both_forms(folder, output):
    output("convert", "snap_iter_2.caffemodel", "w.h5")
    for file in ("snap_iter_2.caffemodel", "w.h5"):
        shown = json.loads(output("show", file, "--json"))
        assert shown["parameters"] == 4
        assert [row["blobs"] for row in shown["layers"] if row["layer"] == "ip"] == [[[1, 3], [1]]]


def test_layers_lists_the_registry(output):
    lines = output("layers").splitlines()
    own = [line for line in lines[1:] if "(fork: " not in line]
    assert [line.split()[0] for line in own] == sorted(REGISTRY)
    marked = {f"{layer.type} (fork: {', '.join(layer.forks)})" for layers in FORK_REGISTRY.values() for layer in layers}
    assert set(json.loads(output("layers", "--json"))) == set(REGISTRY) | marked
    assert all(any(line.startswith(name) for line in lines) for name in marked)


def test_a_fork_is_named_with_a_flag(folder, output):
    lines = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 4 dim: 2 dim: 2 } } }'
    (folder / "bn.prototxt").write_text(f'{lines} layer {{ name: "bn" type: "BN" bottom: "x" top: "y" }}')
    blobs = {}
    for fork in ("segnet", "pspnet"):
        rows = json.loads(output("show", "bn.prototxt", "--json", f"--fork={fork}"))["layers"]
        blobs[fork] = next(len(row["blobs"]) for row in rows if row["layer"] == "bn")
    assert blobs == {"segnet": 2, "pspnet": 4}


def test_upgrade_distinguishes_nets_from_solvers(folder, output):
    (folder / "old.prototxt").write_text(SOLVER + "solver_type: NESTEROV")
    output("upgrade", "old.prototxt", "new.prototxt")
    assert read_solver("new.prototxt").type == "Nesterov"
    (folder / "v1.prototxt").write_text('input: "x" input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4\n'
                                        'layers { name: "r" type: RELU bottom: "x" top: "y" }')  # fmt: skip
    output("upgrade", "v1.prototxt", "v2.prototxt")
    assert [layer.type for layer in read_net("v2.prototxt").layer] == ["Input", "ReLU"]
    output("upgrade", "snap_iter_2.caffemodel", "same.caffemodel")
    assert np.array_equal(read_weights("same.caffemodel")["ip"][0], read_weights("snap_iter_2.caffemodel")["ip"][0])


def test_draw_writes_each_format_in_each_direction(folder, output):
    for name, start in (("net.svg", "<"), ("net.dot", "digraph")):
        assert name in output("draw", "net.prototxt", name, "--rankdir=TB", "--phase", "TRAIN")
        assert (folder / name).read_text().lstrip().startswith(start)
    output("draw", "net.prototxt", "net.png", "--rankdir=BT")
    assert (folder / "net.png").read_bytes().startswith(b"\x89PNG")
    output("draw", "net.prototxt", "all.dot", "--display-lrm")
    assert (folder / "all.dot").read_text().count("feed") > (folder / "net.dot").read_text().count("feed")


COSTS = """
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 2 dim: 4 dim: 9 dim: 9 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 6 kernel_size: 3 stride: 2 group: 2 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "up" type: "Deconvolution" bottom: "conv" top: "up"
  convolution_param { num_output: 5 kernel_size: 2 stride: 2 bias_term: false } }
layer { name: "ip" type: "InnerProduct" bottom: "up" top: "ip" inner_product_param { num_output: 7 } }
layer { name: "flat" type: "Flatten" bottom: "ip" top: "flat" }
layer { name: "a" type: "ReLU" bottom: "flat" top: "a" }
layer { name: "b" type: "ReLU" bottom: "flat" top: "b" }
"""


def test_show_counts_multiply_accumulates_and_memory(tmp_path, output):
    (tmp_path / "net.prototxt").write_text(COSTS)
    shown = json.loads(output("show", str(tmp_path / "net.prototxt"), "--json"))
    rows = {row["layer"]: row for row in shown["layers"]}
    # 2 pictures, 4x4 positions, 6 outputs, 4/2 channels, 3x3; then 4x4 positions, 6 channels, 5 outputs, 2x2
    assert rows["conv"]["macs"] == 2 * 16 * 6 * 2 * 9
    assert rows["up"]["macs"] == 2 * 16 * 6 * 5 * 4
    assert rows["ip"]["macs"] == 2 * (5 * 8 * 8) * 7
    assert rows["relu"]["macs"] == rows["relu"]["memory"] == rows["flat"]["memory"] == 0
    assert rows["conv"]["memory"] == 4 * 2 * 6 * 16
    assert shown["macs"] == sum(row["macs"] for row in shown["layers"])
    assert shown["memory"] == 4 * 2 * (4 * 81 + 6 * 16 + 5 * 64 + 7 + 7 + 7)
    assert shown["memory_required_for_data"] == 4 * 2 * (4 * 81 + 2 * 6 * 16 + 5 * 64 + 7 + 7 + 2 * 7 + 2 * 7)
    text = output("show", str(tmp_path / "net.prototxt"))
    assert "5.9 KiB" in text.splitlines()[-2]
    assert 'Caffe\'s "Memory required for data" is 6.9 KiB' in text.splitlines()[-1]
