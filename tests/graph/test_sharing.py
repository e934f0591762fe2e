"""Parameters of one name: shapes that may differ, and the multipliers that count."""

import numpy as np
import pytest

import caffe_compat.pycaffe as caffe
from caffe_compat.errors import NetError
from caffe_compat.graph import build_graph
from caffe_compat.net import build_net
from caffe_compat.proto import caffe_pb2 as pb
from caffe_compat.proto.text import parse_text


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
    with pytest.raises(NetError, match=r"'b'.*param\.lr_mult = 3.*'w' says 2"):
        multipliers("lr_mult: 2", "lr_mult: 3")


def test_shapes_that_differ_are_refused_unless_permitted():
    with pytest.raises(NetError, match="the shared blobs differ in shape"):
        graph("", "", outputs=(4, 6))
    with pytest.raises(NetError, match="the shared blobs differ in shape"):
        graph("", "share_mode: PERMISSIVE", outputs=(4, 5))


def test_permitted_shapes_run_in_pycaffe_and_are_refused_by_name_elsewhere(tmp_path):
    text = net("", "share_mode: PERMISSIVE", outputs=(4, 6))
    with pytest.raises(NetError, match=r"'b'.*two shapes is not supported here.*pycaffe runs it"):
        build_net(build_graph(parse_text(text, pb.NetParameter)))
    (tmp_path / "net.prototxt").write_text(text)
    made = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST)
    made.params["a"][0].data[...] = np.arange(24).reshape(4, 6)
    assert made.params["b"][0].data.shape == (6, 4)
    np.testing.assert_array_equal(made.params["b"][0].data.ravel(), np.arange(24))
    made.blobs["x"].data[...] = 1
    a = np.arange(24, dtype="f4").reshape(4, 6).sum(1)
    np.testing.assert_allclose(made.forward()["b"][0], np.arange(24).reshape(6, 4) @ a)
