"""caffe-compat upgrade and Caffe's three upgrade tools: nets as text and binary, solvers, of every age."""

import numpy as np
import pytest

from caffe_compat.cli import main
from caffe_compat.formats.files import BlobStore, read_binary, read_net, read_solver, write_binary
from caffe_compat.formats.text import parse_text
from caffe_compat.schema import caffe_pb2 as pb

V0 = """
input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
layers { layer { name: "conv" type: "conv" num_output: 2 kernelsize: 3 blobs_lr: 1 blobs_lr: 2 } bottom: "data" top: "conv" }
layers { layer { name: "relu" type: "relu" } bottom: "conv" top: "conv" }
"""
V1 = """
layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv" blobs_lr: 1 convolution_param { num_output: 2 kernel_size: 3 } }
"""


@pytest.mark.parametrize("command", ["upgrade", "upgrade_net_proto_text"])
def test_a_v0_text_is_upgraded(folder, command):
    (folder / "old.prototxt").write_text(V0)
    assert main([command, "old.prototxt", "new.prototxt"]) == 0
    net = read_net("new.prototxt")
    assert [layer.type for layer in net.layer] == ["Input", "Convolution", "ReLU"]
    assert not net.layers
    assert not net.input
    assert [param.lr_mult for param in net.layer[1].param] == [1, 2]
    assert list(net.layer[1].convolution_param.kernel_size) == [3]


@pytest.mark.parametrize("command", ["upgrade", "upgrade_net_proto_binary"])
@pytest.mark.parametrize("text", [V0, V1])
def test_an_old_binary_is_upgraded_with_identical_values(folder, command, text):
    net, store = parse_text(text, pb.NetParameter), BlobStore()
    weights = np.random.default_rng(0).standard_normal((2, 3, 3, 3)).astype("f4")
    owner = net.layers[0].layer if net.layers[0].HasField("layer") else net.layers[0]
    store.attach(owner.blobs.add(), weights, legacy_shape=True)
    write_binary(net, "old.caffemodel", store)
    assert main([command, "old.caffemodel", "new.caffemodel"]) == 0
    new, values = read_binary("new.caffemodel", pb.NetParameter)
    (layer,) = [layer for layer in new.layer if layer.type == "Convolution"]
    assert not new.layers
    assert values.data(layer.blobs[0]).tobytes() == weights.tobytes()


@pytest.mark.parametrize("command", ["upgrade", "upgrade_solver_proto_text"])
def test_an_old_solver_gets_its_type_as_a_string(folder, command):
    (folder / "old.prototxt").write_text('net: "a" base_lr: 0.5 solver_type: RMSPROP')
    assert main([command, "old.prototxt", "new.prototxt"]) == 0
    solver = read_solver("new.prototxt")
    assert solver.type == "RMSProp"
    assert not solver.HasField("solver_type")
    assert solver.base_lr == 0.5


def test_a_current_file_is_copied(folder):
    text = 'layer { name: "r" type: "ReLU" bottom: "x" top: "y" }'
    (folder / "a.prototxt").write_text(text)
    assert main(["upgrade", "a.prototxt", "b.prototxt"]) == 0
    assert read_net("b.prototxt").layer[0].name == "r"
