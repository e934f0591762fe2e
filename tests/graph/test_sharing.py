"""Parameters of one name: shapes that may differ, and the multipliers that count."""

import copy

import numpy as np
import torch

import caffe_compat.pycaffe as caffe
from caffe_compat.build.net import build_net, load_net
from caffe_compat.build.weights import caffe_blobs, copy_weights, save_weights
from caffe_compat.formats.text import parse_text
from caffe_compat.schema import caffe_pb2 as pb
from tests.nets import build_graph
from tests.refusals import refused


def net(first, second, *, outputs=(4, 4)):
    text = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 6 } } }'
    for name, bottom, count, param in (("a", "x", outputs[0], first), ("b", "a", outputs[1], second)):
        text += f"""layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}"
          param {{ name: "w" {param} }} inner_product_param {{ num_output: {count} bias_term: false }} }}"""
    return text


def graph(*args, **kwargs):
    return build_graph(parse_text(net(*args, **kwargs), pb.NetParameter))


def multipliers(*args):
    square = net(*args, outputs=(6, 6))
    return [
        (s.lr_mult, s.decay_mult) for s in build_graph(parse_text(square, pb.NetParameter)).slots if s.owner is None
    ]


def test_what_any_of_the_layers_writes_down_counts():
    assert multipliers("", "lr_mult: 3 decay_mult: 0") == [(3, 0)]
    assert multipliers("lr_mult: 2", "decay_mult: 5") == [(2, 5)]
    assert multipliers("", "") == [(1, 1)]


def test_layers_that_disagree_are_refused():
    with refused("mismatch", layer="b", field="param.lr_mult", value=3):
        multipliers("lr_mult: 2", "lr_mult: 3")


def test_shapes_that_differ_are_refused_unless_permitted():
    with refused("shape-mismatch", layer="b", field="param.name", value="w"):
        graph("", "", outputs=(4, 6))
    with refused("shape-mismatch", layer="b", field="param.name", value="w"):
        graph("", "share_mode: PERMISSIVE", outputs=(4, 5))


def permitted(phase="TEST"):
    return build_net(
        build_graph(parse_text(net("", "share_mode: PERMISSIVE", outputs=(4, 6)), pb.NetParameter), phase=phase)
    )


def test_permitted_shapes_are_two_looks_at_the_same_values():
    made = permitted()
    (weight,) = (item.tensor for item in made.params)
    with torch.no_grad():
        weight.copy_(torch.arange(24.0).view(4, 6))
    x = torch.ones(2, 6)
    assert torch.equal(made(x), x @ weight.t() @ weight.detach().view(6, 4).t())
    assert [tuple(b.shape) for blobs in caffe_blobs(made).values() for b in blobs] == [(4, 6), (6, 4)]
    assert caffe_blobs(made)["b"][0].flatten().tolist() == list(range(24))
    assert list(made.state_dict()) == ["a.weight", "b.weight"]


def test_both_looks_add_to_one_gradient():
    made = permitted("TRAIN")
    weight = made.params[0].tensor
    with torch.no_grad():
        weight.normal_()
    x = torch.randn(2, 6)
    made(x).square().sum().backward()
    alone = weight.detach().clone().requires_grad_()
    (x @ alone.t() @ alone.reshape(6, 4).t()).square().sum().backward()
    torch.testing.assert_close(weight.grad, alone.grad)


def test_permitted_shapes_are_saved_and_read(tmp_path):
    made, again = permitted(), permitted()
    with torch.no_grad():
        made.params[0].tensor.normal_()
    for name, fmt in (("w.caffemodel", "BINARYPROTO"), ("w.caffemodel.h5", "HDF5")):
        save_weights(made, tmp_path / name, fmt)
        copy_weights(again, tmp_path / name)
        assert torch.equal(again(torch.ones(2, 6)), made(torch.ones(2, 6)))
    text = parse_text(net("", "share_mode: PERMISSIVE", outputs=(4, 6)), pb.NetParameter)
    loaded = load_net(text, tmp_path / "w.caffemodel")
    assert torch.equal(loaded(torch.ones(2, 6)), made(torch.ones(2, 6)))
    copied = copy.deepcopy(made)
    assert torch.equal(copied(torch.ones(2, 6)), made(torch.ones(2, 6)))


def test_permitted_shapes_of_a_scale_behind_a_batch_norm():
    text = """layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 2 dim: 2 } } }
      layer { name: "a" type: "Scale" bottom: "x" top: "a" param { name: "w" } scale_param { axis: 0 num_axes: -1
        filler { type: "gaussian" } } }
      layer { name: "bn" type: "BatchNorm" bottom: "a" top: "bn" }
      layer { name: "b" type: "Scale" bottom: "bn" top: "b" param { name: "w" share_mode: PERMISSIVE }
        scale_param { axis: 0 num_axes: 2 } }"""
    with refused("shape-mismatch", layer="b", field="param.name", value="w"):
        build_graph(parse_text(text, pb.NetParameter))
    text = (
        text.replace("axis: 0 num_axes: -1", "axis: 2 num_axes: 1")
        .replace("axis: 0 num_axes: 2", "axis: 1")
        .replace("dim: 2 dim: 3 dim: 2 dim: 2", "dim: 2 dim: 3 dim: 3 dim: 1")
    )
    made = build_net(build_graph(parse_text(text, pb.NetParameter)), seed=0)
    assert made(torch.randn(2, 3, 3, 1)).shape == (2, 3, 3, 1)


def test_permitted_shapes_run_in_pycaffe(tmp_path):
    text = net("", "share_mode: PERMISSIVE", outputs=(4, 6))
    (tmp_path / "net.prototxt").write_text(text)
    made = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST)
    made.params["a"][0].data[...] = np.arange(24).reshape(4, 6)
    assert made.params["b"][0].data.shape == (6, 4)
    np.testing.assert_array_equal(made.params["b"][0].data.ravel(), np.arange(24))
    made.blobs["x"].data[...] = 1
    a = np.arange(24, dtype="f4").reshape(4, 6).sum(1)
    np.testing.assert_allclose(made.forward()["b"][0], np.arange(24).reshape(6, 4) @ a)
