"""A net on faces of several sizes: its branches share their weights, and learn as a single net does."""

from dataclasses import replace

import pytest
import torch

from caffe_compat import load_net
from caffe_compat.build.weights import save_weights
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.nets.cnn_d import cnn_d, cnn_d_deploy, shares
from lq_emotion.nets.names import Net
from lq_emotion.nets.switches import AS_CODE, AS_PAPER
from tests.refusals import refused


def inputs(factors, counts, seed=0):
    torch.manual_seed(seed)
    blobs = {}
    for factor, count in zip(factors, counts, strict=True):
        suffix = "" if factor == factors[0] else f"_{factor}"
        blobs[f"data{suffix}"] = torch.rand(count, 1, 96 // factor, 96 // factor)
        blobs[f"label{suffix}"] = torch.rand(count, 1) - 0.5
    return blobs


def built(net, blobs, phase="TRAIN"):
    shapes = {name: tuple(blob.shape) for name, blob in blobs.items()}
    return load_net(net, phase=phase, losses=True, input_shapes=shapes, seed=0)


@pytest.mark.parametrize("loss", ["euclidean", "mse"])
def test_loss_and_gradients_equal_those_of_a_single_net_on_all_faces(loss):
    switches = replace(AS_PAPER, loss=loss)
    both = inputs((12, 16), (3, 2))
    net = built(without_dropout(cnn_d(Net.JOINT, switches=switches, factors=(12, 16), batch=5)), both)
    total = net.total_loss(net.forward_dict(both))
    total.backward()
    squares = []
    single = load_net(cnn_d_deploy(switches=switches, factor=12), seed=1).eval()
    single.load_state_dict({name: net.state_dict()[name] for name in single.state_dict()})
    deploys = {12: single, 16: load_net(cnn_d_deploy(switches=switches, factor=16), seed=1).eval()}
    deploys[16].load_state_dict(single.state_dict())
    for factor, suffix in ((12, ""), (16, "_16")):
        squares.append((deploys[factor](both[f"data{suffix}"]) - both[f"label{suffix}"]).square())
    expected = torch.cat(squares).sum() / (5 if loss == "mse" else 10)
    torch.testing.assert_close(total, expected)
    expected.backward()
    parameters = (deploy.named_parameters() for deploy in deploys.values())
    for (name, first), (_, second) in zip(*parameters, strict=True):
        gradient = net.get_parameter(name).grad
        torch.testing.assert_close(gradient, first.grad + second.grad, rtol=1e-4, atol=1e-6)


def without_dropout(net):
    for layer in [layer for layer in net.layer if layer.type == "Dropout"]:
        net.layer.remove(layer)
    return net


def test_a_mixed_net_has_the_parameters_of_a_single_net_which_loads_them(tmp_path):
    blobs = inputs((3, 4, 6), (1, 1, 1))
    net = built(cnn_d(Net.JOINT, switches=AS_PAPER, factors=(3, 4, 6)), blobs)
    assert net.caffe.parameter_count() == 1_333_401
    save_weights(net, tmp_path / "mixed.caffemodel")
    for factor in (3, 16):
        single = load_net(cnn_d_deploy(switches=AS_PAPER, factor=factor), tmp_path / "mixed.caffemodel")
        assert not single.meta["report"].left_at_filler
    torch.testing.assert_close(single.state_dict()["fc4.weight"], net.state_dict()["fc4.weight"])


def test_branches_learn_at_the_rates_of_a_single_net():
    net = cnn_d(Net.JOINT, switches=AS_PAPER, factors=(3, 4))
    single = cnn_d(Net.JOINT, switches=AS_PAPER, factors=(3,))
    rates, expected = (
        {layer.name: [param.lr_mult for param in layer.param] for layer in definition.layer if layer.param}
        for definition in (net, single)
    )
    assert {name: values for name, values in rates.items() if not name.endswith("_4")} == expected
    assert {layer.include[0].phase for layer in net.layer if layer.type == "HDF5Data"} == {pb.TRAIN, pb.TEST}


def test_a_batch_is_divided_evenly():
    assert shares(128, 3) == [43, 43, 42]
    assert shares(16, 1) == [16]
    with refused("out-of-range", field="batch", value=2):
        shares(2, 3)


def test_enlarged_faces_need_no_branches():
    with refused("conflict", field="input_size", value="enlarged"):
        cnn_d(Net.JOINT, switches=AS_CODE, factors=(3, 4))
