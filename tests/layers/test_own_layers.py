"""A layer type of the user's own: the page that shows it is run as it stands."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from caffe_compat.build.net import load_net
from caffe_compat.build.weights import read_weights, save_weights
from caffe_compat.formats.text import parse_text
from caffe_compat.layers import REGISTRY, Layer, register
from caffe_compat.layers.custom_params import own_message
from caffe_compat.schema import caffe_pb2 as pb
from tests.layers.agreement import single
from tests.nets import build_graph
from tests.refusals import refused

PAGE = (Path(__file__).parents[2] / "docs" / "own_layers.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(?:python|protobuf)\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def page(tmp_path):
    """The page's files in a folder."""
    snake, net, use, gate = BLOCKS
    (tmp_path / "my_layers.py").write_text(snake + gate)
    (tmp_path / "net.prototxt").write_text(net)
    (tmp_path / "use.py").write_text(use)
    return tmp_path


def run(folder, *args):
    root = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, *args], cwd=folder, env={"PYTHONPATH": root}, capture_output=True, text=True, check=False
    )  # fmt: skip


def test_the_page_runs_as_it_stands(page):
    process = run(page, "use.py")
    value = 1 + torch.sin(torch.tensor(2.0)) ** 2 / 2
    assert process.stdout.strip() == repr(torch.ones(2, 3) * value).strip(), process.stderr


def test_the_class_that_is_registered_takes_ten_lines_with_its_imports():
    text = BLOCKS[0].replace(BLOCKS[0][BLOCKS[0].index("class SnakeModule") : BLOCKS[0].index("@register")], "")
    assert len([line for line in text.splitlines() if line.strip() and not line.startswith("#")]) <= 10


def test_the_commands_know_the_type_where_the_program_imports_it(page):
    starts = "import my_layers, sys; from caffe_compat.cli import main; sys.exit(main())"
    assert starts in PAGE
    shown = json.loads(run(page, "-c", starts, "show", "net.prototxt", "--json").stdout)["layers"][1]
    assert (shown["type"], shown["tops"], shown["macs"], shown["memory"]) == ("Snake", {"y": [2, 3]}, 0, 24)
    assert "Snake (own)" in run(page, "-c", starts, "layers").stdout
    process = run(page, "-m", "caffe_compat", "show", "net.prototxt")
    assert process.returncode == 1
    assert "net.prototxt:3: layer 'snake': type = 'Snake'" in process.stderr


@pytest.fixture
def types():
    """The page's types, registered for one test."""
    before = dict(REGISTRY)
    exec(compile(BLOCKS[0] + BLOCKS[3], "docs/own_layers.md", "exec"), {})
    yield
    REGISTRY.clear()
    REGISTRY.update(before)


@pytest.mark.usefixtures("types")
def test_blobs_of_an_own_type_are_trained_saved_and_read(tmp_path):
    text = single("Gate", [(2, 3, 4), (2, 3, 4)], "gate_param { start: 0.5 }")
    net = load_net(parse_text(text, pb.NetParameter))
    x, gate = torch.randn(2, 2, 3, 4)
    torch.testing.assert_close(net(x, gate), x * torch.sigmoid(gate * 0.5))
    net(x, gate).sum().backward()
    assert net.params[0].tensor.grad.shape == (3,)
    save_weights(net, tmp_path / "w.caffemodel")
    assert read_weights(tmp_path / "w.caffemodel")["l"][0].tolist() == [0.5] * 3


@pytest.mark.usefixtures("types")
@pytest.mark.parametrize(
    ("body", "code", "field", "hint"),
    [
        ("snake_param { sped: 1 }", "field-unknown", "snake_param.sped", "did you mean 'speed'?"),
        ("snake_param { speed: fast }", "syntax", "snake_param.speed", ""),
        ("snack_param { }", "field-unknown", "snack_param", "did you mean 'snake_param'"),
        ("norm_param { }", "field-unknown", "norm_param", "ssd has it, but not for a Snake layer"),
    ],
)
def test_what_an_own_type_does_not_have_is_refused_by_name(body, code, field, hint):
    with refused(code, file="net.prototxt", line=2, layer="l", field=field, hint=hint):
        build_graph(single("Snake", [(2, 3)], body))


def test_an_own_type_may_take_the_name_of_a_forks_type():
    class Mine(Layer):
        type = "Axpy"
        own = {"axpy_param": {"factor": 2.0}}

        def module(self, spec):
            return torch.nn.Identity()

    try:
        register(Mine)
        net = load_net(parse_text(single("Axpy", [(2, 3)], "axpy_param { }"), pb.NetParameter))
        assert isinstance(net.caffe.nodes[-1].layer, Mine)
    finally:
        REGISTRY.pop("Axpy", None)


def test_defaults_are_the_kinds_of_the_fields():
    message = own_message("T", {"p": {"a": True, "b": 3, "c": 0.5, "d": "x", "e": [], "f": ["y"], "g": [1]}})
    assert [getattr(message().p, name) for name in "abcd"] == [True, 3, 0.5, "x"]
    param = parse_text('p { a: false b: -4 c: 1e-3 d: "z" e: 0.5 e: 2 f: "u" f: "v" g: 7 }', message).p
    assert [param.a, param.b, param.c, param.d, *map(list, (param.e, param.f, param.g))] == [
        False, -4, 1e-3, "z", [0.5, 2], ["u", "v"], [7],
    ]  # fmt: skip
