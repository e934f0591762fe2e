"""The names of classes and dimensions go along with a net, whatever the format."""

import importlib.util

import pytest
import torch

from caffe_compat import load_net, load_safetensors
from caffe_compat.cli import main
from caffe_compat.export import FORMATS, export
from caffe_compat.export.portable import read_labels
from tests.nets import build_net
from tests.refusals import refused

onnx = pytest.importorskip("onnx", reason="the extra `dev` brings onnx")

NET = """layer { name: "in" type: "Input" top: "data" input_param { shape { dim: [2, 3] } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }"""
LABELS = ("n01440764 tench, Tinca tinca", 'the "fröhlich" one')


@pytest.fixture
def net():
    net = build_net(NET)
    net.meta["labels"] = LABELS
    return net


def test_every_format_has_the_labels_where_its_readers_look(net, tmp_path):
    for to, name in (("onnx", "n.onnx"), ("pt2", "n.pt2"), ("safetensors", "n.safetensors"), ("python", "n.py")):
        export(net, tmp_path / name, to)
    lines = 'n01440764 tench, Tinca tinca\nthe "fröhlich" one\n'
    assert {p.key: p.value for p in onnx.load(tmp_path / "n.onnx").metadata_props}["labels.txt"] == lines
    texts = {"labels.txt": ""}
    torch.export.load(tmp_path / "n.pt2", extra_files=texts)
    assert texts["labels.txt"] == lines
    assert load_safetensors(tmp_path / "n.safetensors").meta["labels"] == LABELS
    spec = importlib.util.spec_from_file_location("n", tmp_path / "n.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert list(LABELS) == module.LABELS


def test_a_net_made_again_exports_its_labels_too(net, tmp_path):
    export(net, tmp_path / "a", "safetensors")
    export(load_safetensors(tmp_path / "a"), tmp_path / "b", "safetensors")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_command_takes_a_file_of_labels(golden, tmp_path, capsys):
    case, file = golden / "layers" / "conv_group", tmp_path / "labels.txt"
    net = load_net(case / "net.prototxt", case / "weights.caffemodel")
    channels = net.caffe.shapes[net.returns[0]][1]
    target = tmp_path / "n.safetensors"
    arguments = ["convert", str(case / "weights.caffemodel"), str(target), f"--model={case / 'net.prototxt'}"]
    arguments += [f"--labels={file}"]
    file.write_text(
        "\ufeff" + "\r\n".join(f"class {i}" for i in range(channels)) + "\r\n\r\n", encoding="utf-8", newline=""
    )
    assert main(arguments) == 0
    assert load_safetensors(target).meta["labels"] == tuple(f"class {i}" for i in range(channels))
    file.write_text("one\n")
    target.unlink()
    assert main(arguments) == 1
    assert "1 labels fit no output" in capsys.readouterr().err
    assert not target.exists()


@pytest.mark.parametrize("to", FORMATS)
def test_labels_that_fit_no_output_are_refused_before_anything_is_written(to, net, tmp_path):
    net.meta["labels"] = ("valence",)
    with refused("wrong-count", field="labels"):
        export(net, tmp_path / "n.py", to)
    assert not list(tmp_path.iterdir())


def test_detections_name_their_class_by_number_so_that_any_labels_fit(tmp_path):
    shapes = (("a", "1, 8"), ("b", "1, 4"), ("c", "1, 2, 8"))
    inputs = (
        f'layer {{ name: "{n}" type: "Input" top: "{n}" input_param {{ shape {{ dim: [{s}] }} }} }}' for n, s in shapes
    )
    layer = 'layer { name: "d" type: "DetectionOutput" bottom: "a" bottom: "b" bottom: "c" top: "d" '
    net = build_net("".join(inputs) + layer + "detection_output_param { num_classes: 2 nms_param { top_k: 4 } } }")
    net.meta["labels"] = ("background", "face")
    export(net, tmp_path / "n", "safetensors")
    assert load_safetensors(tmp_path / "n").meta["labels"] == ("background", "face")


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [(b"a\n\nb\n", "empty", 2), (b" \n", "empty", 1), (b"\xff\xfe\xb0", "wrong-format", None)],
)
def test_a_file_that_holds_no_labels_is_refused(content, code, line, tmp_path):
    (tmp_path / "labels.txt").write_bytes(content)
    with refused(code, file="labels.txt", line=line):
        read_labels(tmp_path / "labels.txt")
    with refused("file-missing", file="missing.txt"):
        read_labels(tmp_path / "missing.txt")
