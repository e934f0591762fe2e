"""The module that load_net returns, as a user of torch meets it."""

import copy
from pathlib import Path

import pytest
import torch
from torch import fx

from caffe_compat import load_net
from caffe_compat.build.net import CaffeNet
from caffe_compat.formats.text import parse_text
from caffe_compat.graph.graph import RESERVED
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.prototxt import path
from tests.refusals import refused

DEPLOY = path("matlabscripts/recon/deploy/model_1F_CNN+D.prototxt")


def _net(text: str, **options: object) -> CaffeNet:
    return load_net(parse_text(text, pb.NetParameter), **options)


def test_the_code_reads_like_the_net() -> None:
    code = load_net(DEPLOY).code
    assert "conv1 = self.conv1(data)" in code
    assert "rectify_(pool1, relu1)" in code
    assert "fc5 = self.fc5(" in code


def test_the_state_dict_is_named_after_the_layers() -> None:
    layers = ("conv1", "conv2", "conv3", "fc4", "fc5")
    assert list(load_net(DEPLOY).state_dict()) == [f"{layer}.{blob}" for layer in layers for blob in ("weight", "bias")]


def test_torch_export_takes_it_with_any_batch() -> None:
    net = load_net(DEPLOY, seed=0)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(net, (torch.zeros(2, 1, 96, 96),), dynamic_shapes=({0: batch},))
    x = torch.randn(5, 1, 96, 96)
    torch.testing.assert_close(program.module()(x), net(x))


def test_no_name_of_a_layer_becomes_code(capsys) -> None:
    code = r"training\") or print(\"run\") or getattr(self, \"training"
    names = [code, r"back\\slash", r"line\nend", "it's"]
    text = 'layer { name: "in" type: "Input" top: "b0" input_param { shape { dim: 2 } } }\n'
    for i, name in enumerate(names):
        text += f'layer {{ name: "{name}" type: "Power" bottom: "b{i}" top: "b{i + 1}" power_param {{ scale: 2 }} }}\n'
    net = _net(text)
    assert net(torch.ones(2)).tolist() == [16, 16]
    assert capsys.readouterr().out == ""
    assert [node.name for node in net.caffe.nodes[1:3]] == [
        'training") or print("run") or getattr(self, "training',
        r"back\slash",
    ]


def test_inputs_go_by_position_or_by_blob_name() -> None:
    net = _net(
        'layer { name: "a" type: "Input" top: "a" input_param { shape { dim: 2 } } }\n'
        'layer { name: "b" type: "Input" top: "b" input_param { shape { dim: 2 } } }\n'
        'layer { name: "d" type: "Eltwise" bottom: "a" bottom: "b" top: "d" eltwise_param { coeff: 1 coeff: -1 } }'
    )
    a, b = torch.tensor([3.0, 4.0]), torch.tensor([1.0, 1.0])
    assert (
        net(a, b).tolist() == net(b=b, a=a).tolist() == net.forward_dict({"b": b, "a": a})["d"].tolist() == [2.0, 3.0]
    )
    with refused("field-missing", field="inputs", value="b"):
        net.forward_dict({"a": a})


def test_several_outputs_come_by_name() -> None:
    net = _net(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 } } }\n'
        'layer { name: "r" type: "ReLU" bottom: "x" top: "r" }\nlayer { name: "s" type: "Softmax" bottom: "x" top: "s" '
        "softmax_param { axis: 0 } }"
    )
    assert list(net(torch.zeros(2))) == ["r", "s"]


def test_an_input_nobody_reads_is_returned_as_it_is() -> None:
    x = torch.ones(2)
    assert _net('layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 } } }')(x) is x


def test_the_phase_sets_the_mode() -> None:
    shapes = {"data": (2, 1, 96, 96), "label": (2, 1)}
    train = load_net(path("experiments/network/model_1F_CNN+D.prototxt"), phase="TRAIN", input_shapes=shapes)
    assert train.training
    assert train.returns == ("loss",)
    assert not load_net(DEPLOY).training
    with refused("name-unknown", field="phase", value="train", hint="TRAIN or TEST"):
        load_net(DEPLOY, phase="train")


def test_a_seed_repeats_the_fillers_and_leaves_torchs_own_stream_alone() -> None:
    torch.manual_seed(1)
    before = torch.rand(1)
    torch.manual_seed(1)
    first, second = load_net(DEPLOY, seed=5).state_dict(), load_net(DEPLOY, seed=5).state_dict()
    assert torch.equal(torch.rand(1), before)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(first["conv1.weight"], load_net(DEPLOY, seed=6).state_dict()["conv1.weight"])


def test_a_copy_is_a_net_of_its_own() -> None:
    net = load_net(DEPLOY, seed=0)
    twin = copy.deepcopy(net)
    x = torch.randn(1, 1, 96, 96)
    assert torch.equal(net(x), twin(x))
    with torch.no_grad():
        twin.get_submodule("fc5").bias += 1
    assert not torch.equal(net(x), twin(x))
    assert twin.inputs == ("data",)


def test_fusing_changes_no_value_and_no_gradient() -> None:
    text = (
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 9 dim: 9 } } }\n'
        'layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 6 kernel_size: 3 '
        'weight_filler { type: "xavier" } } }\n'
        'layer { name: "bn" type: "BatchNorm" bottom: "c" top: "c" }\n'
        'layer { name: "sc" type: "Scale" bottom: "c" top: "c" scale_param { bias_term: true } }\n'
        'layer { name: "r" type: "ReLU" bottom: "c" top: "c" }\n'
        'layer { name: "p" type: "Pooling" bottom: "c" top: "p" pooling_param { kernel_size: 3 stride: 2 } }\n'
        'layer { name: "l" type: "ReLU" bottom: "p" top: "l" relu_param { negative_slope: 0.1 } }\n'
    )
    net = _net(text, phase="TRAIN", losses=True, seed=0)
    assert "self.bn(c, " in net.code
    assert "rectify_(p, " in net.code
    x = torch.randn(2, 3, 9, 9)
    results = []
    for run in (net, lambda v: net.every_blob({"x": v})["l"]):
        net.zero_grad()
        y = run(x)
        y.square().sum().backward()
        results.append([y.detach(), *[p.grad.clone() for p in net.parameters()]])
    for fused, plain in zip(*results, strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-5, atol=1e-4)


def test_a_propagate_down_of_false_stops_the_gradient() -> None:
    net = _net(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
        'layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" inner_product_param { num_output: 3 '
        'weight_filler { type: "xavier" } } }\n'
        'layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" propagate_down: false inner_product_param { num_output: 1 } }'
    )
    net(torch.ones(2, 3)).sum().backward()
    assert net.get_submodule("a").weight.grad is None
    assert net.get_submodule("b").weight.grad is not None


def test_the_names_of_the_net_itself_are_reserved() -> None:
    own = {name for name in vars(CaffeNet) if not name.startswith("_")}
    assert own - set(dir(fx.GraphModule)) <= RESERVED


def test_weights_written_in_the_prototxt_are_used() -> None:
    net = _net(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } }\n'
        'layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" inner_product_param { num_output: 1 bias_term: false } '
        "blobs { shape { dim: 1 dim: 2 } data: 2 data: 3 } }"
    )
    assert net(torch.tensor([[1.0, 10.0]])).item() == 32


@pytest.mark.parametrize("filler", ["xavier", "msra", "gaussian"])
def test_building_twice_from_a_file_gives_the_same_module(tmp_path: Path, filler: str) -> None:
    file = tmp_path / "net.prototxt"
    file.write_text(
        'input: "x" input_dim: 1 input_dim: 2 input_dim: 5 input_dim: 5\nlayer { name: "c" type: "Convolution" bottom: "x" '
        f'top: "c" convolution_param {{ num_output: 2 kernel_size: 3 weight_filler {{ type: "{filler}" }} }} }}'
    )
    x = torch.randn(1, 2, 5, 5)
    assert torch.equal(load_net(file, seed=2)(x), load_net(file, seed=2)(x))
