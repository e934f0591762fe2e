"""caffe-compat convert, upgrade, show, layers."""

import json

import numpy as np
import pytest
import torch

from caffe_compat.cli import main
from caffe_compat.files import read_net, read_solver, read_weights_h5
from caffe_compat.layers import REGISTRY
from caffe_compat.prototxt import path as definition
from caffe_compat.weights import read_weights
from tests.solver.case import NET, SOLVER, write_case

CNN_D = "experiments/network/model_1F_CNN+D.prototxt"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_case(tmp_path)
    assert main(["train", "--solver=solver.prototxt", "--max_iter=2"]) == 0
    return tmp_path


@pytest.fixture
def output(capsys):
    def run(*argv, code=0):
        capsys.readouterr()
        assert main(argv) == code
        found = capsys.readouterr()
        assert "Traceback" not in found.err
        return found.out if code == 0 else found.err

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


def test_what_cannot_be_converted_is_one_error_and_leaves_nothing(folder, output):
    (folder / "bad.pt").write_bytes(b"PK\x03\x04 and no more")
    torch.save({"ip.weight": torch.zeros(1, 4), "ip.biass": torch.zeros(1)}, "other.pt")
    torch.save([1, 2], "list.pt")
    (folder / "more.prototxt").write_text(
        NET.replace('bottom: "ip" bottom: "label"', 'bottom: "top" bottom: "label"')
        + 'layer { name: "top" type: "InnerProduct" bottom: "ip" top: "top" inner_product_param { num_output: 1 } }'
    )
    before = sorted(folder.iterdir())
    model = "--model=net.prototxt"
    for argv, told in (
        (["snap_iter_2.caffemodel", "w.onx", model], "w.onx: its name does not say the format"),
        (["snap_iter_2.caffemodel", "gone/w.pt", model], "gone/w.pt: there is no such folder"),
        (["snap_iter_2.caffemodel", "w.pt"], "the net must be known (give --model=FILE)"),
        (["gone.caffemodel", "w.pt", model], "gone.caffemodel"),
        (["bad.pt", "w.caffemodel", model], "bad.pt: cannot be read as a state_dict"),
        (["list.pt", "w.caffemodel", model], "list.pt: is not a state_dict"),
        (["other.pt", "w.caffemodel", model], "did you mean 'ip.biass'?"),
        (["train.h5", "w.pt", model], "train.h5"),
        (["net.prototxt", "w.pt", model], "net.prototxt"),
    ):
        assert told in output("convert", *argv, code=1)
    assert sorted(folder.iterdir()) == before


def test_a_net_with_more_layers_than_the_weights_is_not_filled_with_chance(folder, output):
    more = NET.replace('bottom: "ip" bottom: "label"', 'bottom: "more" bottom: "label"')
    layer = (
        'layer { name: "more" type: "InnerProduct" bottom: "ip" top: "more" inner_product_param { num_output: 1 } }\n'
    )
    (folder / "more.prototxt").write_text(more.replace('layer { name: "loss"', layer + 'layer { name: "loss"'))
    told = output("convert", "snap_iter_2.caffemodel", "w.pt", "--model=more.prototxt", code=1)
    assert "has no values for more.weight, more.bias" in told


def test_show_counts_the_authors_parameters(output):
    text = output("show", str(definition(CNN_D)), "--input", "data=2,1,96,96", "--input=label=2,1", "--phase=TRAIN")
    assert text.splitlines()[-1].split()[-1] == "2,946,649"
    row = next(line for line in text.splitlines() if line.startswith("pool3"))
    assert row.split() == ["pool3", "Pooling", "pool3", "2x256x5x5"]
    found = json.loads(output("show", str(definition(CNN_D)), "--input=data=2x1x96x96", "--input=label=2x1", "--json"))
    assert found["parameters"] == 2946649


def test_show_lists_weights_of_both_forms(folder, output):
    output("convert", "snap_iter_2.caffemodel", "w.h5")
    for file in ("snap_iter_2.caffemodel", "w.h5"):
        found = json.loads(output("show", file, "--json"))
        assert found["parameters"] == 4
        assert [row["blobs"] for row in found["layers"] if row["layer"] == "ip"] == [[[1, 3], [1]]]


def test_show_tells_what_is_wrong(folder, output):
    (folder / "net.prototxt").write_text(NET.replace("EuclideanLoss", "EuclidLoss"))
    assert "did you mean 'EuclideanLoss'?" in output("show", "net.prototxt", code=1)
    assert "gone" in output("show", "gone", code=1)
    assert "solver.prototxt: this is a solver; a net is expected" in output("show", "solver.prototxt", code=1)
    assert "(give --input=BLOB=N,C,H,W, or a deploy prototxt)" in output("show", str(definition(CNN_D)), code=1)
    assert "usage" in output("show", "net.prototxt", "--input=data", code=2)


def test_layers_lists_the_registry(output):
    lines = output("layers").splitlines()
    assert [line.split()[0] for line in lines[1:]] == sorted(REGISTRY)
    assert sorted(json.loads(output("layers", "--json"))) == sorted(REGISTRY)


def test_upgrade_tells_nets_from_solvers(folder, output):
    (folder / "old.prototxt").write_text(SOLVER + "solver_type: NESTEROV")
    output("upgrade", "old.prototxt", "new.prototxt")
    assert read_solver("new.prototxt").type == "Nesterov"
    (folder / "v1.prototxt").write_text('input: "x" input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4\n'
                                        'layers { name: "r" type: RELU bottom: "x" top: "y" }')  # fmt: skip
    output("upgrade", "v1.prototxt", "v2.prototxt")
    assert [layer.type for layer in read_net("v2.prototxt").layer] == ["Input", "ReLU"]
    output("upgrade", "snap_iter_2.caffemodel", "same.caffemodel")
    assert np.array_equal(read_weights("same.caffemodel")["ip"][0], read_weights("snap_iter_2.caffemodel")["ip"][0])
    assert "broken.prototxt:1:" in output("upgrade", _broken(folder), "x.prototxt", code=1)
    assert not (folder / "x.prototxt").exists()


def _broken(folder):
    (folder / "broken.prototxt").write_text('layer { name: "a" ')
    return "broken.prototxt"


def test_draw_writes_each_format_in_each_direction(folder, output):
    for name, start in (("net.svg", "<"), ("net.dot", "digraph")):
        assert name in output("draw", "net.prototxt", name, "--rankdir=TB", "--phase", "TRAIN")
        assert (folder / name).read_text().lstrip().startswith(start)
    output("draw", "net.prototxt", "net.png", "--rankdir=BT")
    assert (folder / "net.png").read_bytes().startswith(b"\x89PNG")
    output("draw", "net.prototxt", "all.dot", "--display-lrm")
    assert (folder / "all.dot").read_text().count("feed") > (folder / "net.dot").read_text().count("feed")
    assert "usage" in output("draw", "net.prototxt", "net.svg", "--rankdir=UP", code=2)
    assert "no such format of pictures" in output("draw", "net.prototxt", "net.bmp", code=1)
    assert not (folder / "net.bmp").exists()
