"""No command writes over a file that it reads, by its name or by a link."""

from pathlib import Path

import pytest

from caffe_compat.build.net import load_net
from caffe_compat.build.weights import save_weights
from caffe_compat.cli import main

NET = """
input: "data" input_shape { dim: 1 dim: 2 }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }
"""
COMMANDS = {
    "convert": ("convert", "net.caffemodel", "OUT", "--model", "net.prototxt"),
    "convert to ONNX": ("convert", "net.onnx", "OUT", "--model", "net.prototxt"),
    "finetune_report": ("finetune_report", "--model", "net.prototxt", "--weights", "net.caffemodel", "--output", "OUT"),
    "upgrade": ("upgrade", "net.caffemodel", "OUT"),
    "draw": ("draw", "net.prototxt", "OUT", "--format", "dot"),
}


@pytest.mark.parametrize("alias", ["name", "symbolic link", "hard link"])
@pytest.mark.parametrize("name", COMMANDS)
def test_an_input_is_not_replaced(name, alias, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(NET)
    save_weights(load_net(tmp_path / "net.prototxt"), tmp_path / "net.caffemodel")
    (tmp_path / "net.onnx").write_bytes((tmp_path / "net.caffemodel").read_bytes())
    source = {"draw": "net.prototxt", "convert to ONNX": "net.onnx"}.get(name, "net.caffemodel")
    out = source if alias == "name" else f"other{Path(source).suffix}"
    if alias == "symbolic link":
        Path(out).symlink_to(source)
    elif alias == "hard link":
        Path(out).hardlink_to(source)
    before = (tmp_path / source).read_bytes()
    assert main([out if word == "OUT" else word for word in COMMANDS[name]]) == 1
    assert "would replace a file that is read" in capsys.readouterr().err
    assert (tmp_path / source).read_bytes() == before
