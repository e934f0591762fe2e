"""A net on faces of several sizes: as one net on all of them, where they are of one size."""

from dataclasses import replace

import pytest
import torch

from caffe_compat import load_net
from caffe_compat.build.weights import save_weights
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.nets.cnn_d import cnn_d, cnn_d_deploy
from lq_emotion.nets.mixed import mixed, shares
from lq_emotion.nets.names import Net
from lq_emotion.nets.switches import AS_CODE, AS_PAPER
from tests.refusals import refused


def inputs(factors, counts, seed=0):
    torch.manual_seed(seed)
    found = {}
    for factor, count in zip(factors, counts, strict=True):
        suffix = "" if factor == factors[0] else f"_{factor}"
        found[f"data{suffix}"] = torch.rand(count, 1, 96 // factor, 96 // factor)
        found[f"label{suffix}"] = torch.rand(count, 1) - 0.5
    return found


def built(net, blobs, phase="TRAIN"):
    shapes = {name: tuple(blob.shape) for name, blob in blobs.items()}
    return load_net(net, phase=phase, losses=True, input_shapes=shapes, seed=0)


@pytest.mark.parametrize("loss", ["euclidean", "mse"])
def test_the_loss_and_its_gradients_are_those_of_one_net_on_all_faces(loss):
    switches = replace(AS_PAPER, loss=loss)
    both = inputs((12, 16), (3, 2))
    net = built(without_dropout(mixed(Net.JOINT, switches=switches, factors=(12, 16), batch=5)), both)
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
    theirs = [sum(grads) for grads in zip(*([p.grad for p in x.parameters()] for x in deploys.values()), strict=True)]
    ours = dict(net.named_parameters())
    for (name, _), grad in zip(single.named_parameters(), theirs, strict=True):
        torch.testing.assert_close(ours[name].grad, grad, rtol=1e-4, atol=1e-6)


def without_dropout(net):
    for layer in [layer for layer in net.layer if layer.type == "Dropout"]:
        net.layer.remove(layer)
    return net


def test_it_has_the_parameters_of_one_net_and_gives_them_to_one(tmp_path):
    blobs = inputs((3, 4, 6), (1, 1, 1))
    net = built(mixed(Net.JOINT, switches=AS_PAPER, factors=(3, 4, 6)), blobs)
    assert net.caffe.parameter_count() == 1_333_401
    save_weights(net, tmp_path / "mixed.caffemodel")
    for factor in (3, 16):
        alone = load_net(cnn_d_deploy(switches=AS_PAPER, factor=factor), tmp_path / "mixed.caffemodel")
        assert not alone.meta["report"].left_at_filler
    torch.testing.assert_close(alone.state_dict()["fc4.weight"], net.state_dict()["fc4.weight"])


def test_its_branches_learn_at_the_rates_of_one_net():
    net = mixed(Net.JOINT, switches=AS_PAPER, factors=(3, 4))
    one = cnn_d(Net.JOINT, switches=AS_PAPER, factor=3)

    def learnt(layers):
        return {layer.name: [param.lr_mult for param in layer.param] for layer in layers if layer.param}

    assert {name: rates for name, rates in learnt(net.layer).items() if not name.endswith("_4")} == learnt(one.layer)
    assert {layer.include[0].phase for layer in net.layer if layer.type == "HDF5Data"} == {pb.TRAIN, pb.TEST}


def test_a_batch_is_divided_evenly():
    assert shares(128, 3) == [43, 43, 42]
    assert shares(16, 1) == [16]
    with refused("out-of-range", field="batch", value=2):
        shares(2, 3)


def test_enlarged_faces_need_no_branches():
    with refused("conflict", field="input_size", value="enlarged"):
        mixed(Net.JOINT, switches=AS_CODE, factors=(3, 4))
