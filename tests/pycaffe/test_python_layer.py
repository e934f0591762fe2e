"""Layers written in Python, which only pycaffe runs."""

import sys
import textwrap

import numpy as np
import pytest

import caffe_compat.pycaffe as caffe
from caffe_compat.build.net import load_net
from tests.refusals import refused

MODULE = """
import caffe_compat.pycaffe as caffe
instances = []
class Times(caffe.Layer):
    def setup(self, bottom, top):
        instances.append(self)
        self.factor = float(self.param_str or 1)
        self.shapes = []
    def reshape(self, bottom, top):
        self.shapes.append(bottom[0].shape)
        top[0].reshape(*bottom[0].shape)
    def forward(self, bottom, top):
        top[0].data[...] = self.factor * bottom[0].data
    def backward(self, top, propagate_down, bottom):
        self.asked = propagate_down
        bottom[0].diff[...] = self.factor * top[0].diff
class Offset(caffe.Layer):
    def setup(self, bottom, top):
        self.blobs.add_blob(3)
        self.blobs[0].data[...] = 1
    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)
    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data + self.blobs[0].data
    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[...] += top[0].diff.sum(0)
        bottom[0].diff[...] = top[0].diff
class Count(caffe.Layer):
    def setup(self, bottom, top):
        self.n = 0
        top[0].reshape(2, 3)
    def reshape(self, bottom, top): pass
    def forward(self, bottom, top):
        self.n += 1
        top[0].data[...] = self.n
    def backward(self, top, propagate_down, bottom): pass
class Wrong(caffe.Layer):
    def setup(self, bottom, top):
        raise ZeroDivisionError("in setup")
class Other: pass
"""
INPUT = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'


def layer(cls, extra="", *, bottom="x", top="y"):
    return f'layer {{ name: "{top}" type: "Python" bottom: "{bottom}" top: "{top}" python_param {{ module: "own_layers" layer: "{cls}" {extra} }} }}\n'


@pytest.fixture
def make(tmp_path, monkeypatch):
    (tmp_path / "own_layers.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_layers", raising=False)

    def net(text, phase=caffe.TEST):
        (tmp_path / "net.prototxt").write_text("force_backward: true\n" + text)
        return caffe.Net(str(tmp_path / "net.prototxt"), phase)

    return net


def test_a_python_layer_runs_forward_and_backward_with_its_param_str(make):
    net = make(INPUT + layer("Times", 'param_str: "10"') + layer("Times", 'param_str: "2"', bottom="y", top="z"))
    net.blobs["x"].data[...] = 3
    assert (net.forward()["z"] == 60).all()
    net.blobs["z"].diff[...] = 1
    assert (net.backward()["x"] == 20).all()
    assert net.layer_dict["y"].asked == [True]
    assert net.layer_dict["y"].phase == caffe.TEST
    assert type(net.layer_dict["y"]).__name__ == "Times"
    assert net.layer_dict["y"].type == "Python"


def test_reshape_is_called_before_every_pass(make):
    net = make(INPUT + layer("Times"))
    net.blobs["x"].reshape(5, 3)
    net.forward()
    assert net.blobs["y"].shape == (5, 3)
    assert net.layer_dict["y"].shapes[0] == (2, 3)
    assert net.layer_dict["y"].shapes[-1] == (5, 3)


def test_the_blobs_of_a_python_layer_are_parameters_saved_loaded_and_shared(make, tmp_path):
    net = make(INPUT + layer("Offset"))
    assert net.params["y"][0].data.tolist() == [1, 1, 1]
    net.params["y"][0].data[...] = [1, 2, 3]
    assert net.forward()["y"].tolist() == [[1, 2, 3]] * 2
    net.blobs["y"].diff[...] = 1
    net.backward()
    assert net.params["y"][0].diff.tolist() == [2, 2, 2]
    net.save(str(tmp_path / "w.caffemodel"))
    other = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST, weights=str(tmp_path / "w.caffemodel"))
    assert other.params["y"][0].data.tolist() == [1, 2, 3]
    third = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST)
    third.share_with(net)
    net.params["y"][0].data[...] = 9
    assert third.forward()["y"][0].tolist() == [9, 9, 9]


def test_a_solver_trains_the_blobs_of_a_python_layer(make, folder):
    make(
        'layer { name: "d" type: "DummyData" top: "x" top: "t" dummy_data_param { shape { dim: 2 dim: 3 } data_filler { value: 1 } } }'
        + layer("Offset")
        + 'layer { name: "l" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "l" }'
    )
    (folder / "s.prototxt").write_text(
        'net: "net.prototxt" base_lr: 1 lr_policy: "fixed" max_iter: 2 snapshot_after_train: false'
    )
    solver = caffe.SGDSolver("s.prototxt")
    solver.step(1)
    np.testing.assert_allclose(solver.net.params["y"][0].data, [0, 0, 0], atol=1e-6)


def test_a_python_layer_can_feed_a_net(make):
    net = make(
        'layer { name: "y" type: "Python" top: "y" python_param { module: "own_layers" layer: "Count" } }'
        'layer { name: "p" type: "Power" bottom: "y" top: "z" power_param { scale: 2 } }'
    )
    assert net.forward()["z"][0, 0] == 2
    assert net.forward()["z"][0, 0] == 4


def test_an_exception_in_the_layers_code_reaches_the_caller(make):
    with pytest.raises(ZeroDivisionError, match="in setup"):
        make(INPUT + layer("Wrong"))


def test_a_class_that_does_not_derive_from_layer_is_an_error(make):
    with refused("wrong-type", layer="y", field="python_param.layer", value="Other"):
        make(INPUT + layer("Other"))


def test_a_definition_alone_runs_no_code(make, tmp_path):
    make(INPUT + layer("Times"))
    instances = sys.modules["own_layers"].instances
    before = len(instances)
    with refused("unsafe", field="python_param.layer"):
        load_net(tmp_path / "net.prototxt")
    assert len(instances) == before
