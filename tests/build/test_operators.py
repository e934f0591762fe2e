"""A net that trains on compiled operators learns what it would on torch's, and steps aside where it could not."""

import copy
import pickle

import pytest
import torch
from torch import nn

from caffe_compat import load_net
from caffe_compat.build import operators
from caffe_compat.build.operators import convolve
from caffe_compat.definition.netspec import NetSpec
from caffe_compat.definition.netspec import layers as L
from caffe_compat.kernels.fast.library import vector_lengths
from caffe_compat.schema.caffe_pb2 import SolverParameter
from caffe_compat.solver import Solver

ROUNDED = 1e-5
"""float32 sums in two orders, of the largest value, after a pass forward and back through five layers."""
MSRA = {"weight_filler": {"type": "msra"}, "bias_filler": {"type": "gaussian", "std": 0.1}}

pytestmark = pytest.mark.skipif(not vector_lengths(), reason="installed without a compiler")


def definition():
    n = NetSpec()
    n.data = x = L.DummyData(shape={"dim": [6, 1, 44, 40]})
    n.label = L.DummyData(shape={"dim": [6, 3]})
    for index, (outputs, size) in enumerate(((32, 5), (64, 3), (48, 5)), 1):
        n[f"conv{index}"] = L.Convolution(x, num_output=outputs, kernel_size=size, pad=index - 1, **MSRA)
        n[f"relu{index}"] = x = L.ReLU(n[f"conv{index}"], in_place=True)
        if index == 1:
            n.pool1 = x = L.Pooling(x, kernel_size=2, stride=2)
    n.fc = L.InnerProduct(x, num_output=3, **MSRA)
    n.loss = L.EuclideanLoss(n.fc, n.label)
    return n.to_proto()


def train_net(**more):
    return load_net(definition(), phase="TRAIN", seed=3, **more)


def batch():
    generator = torch.Generator().manual_seed(5)
    return torch.randn(6, 1, 44, 40, generator=generator), torch.randn(6, 3, generator=generator)


def step(net):
    """Return the loss and the gradients of a pass."""
    net.zero_grad()
    loss = net(*batch())
    loss.backward()
    return [loss.detach(), *(p.grad for p in net.parameters())]


def _noted(seen, name, function):
    return lambda *args: seen.append(name) or function(*args)


@pytest.fixture
def calls(monkeypatch):
    """The operators that are called, by name."""
    seen = []
    for name in ("convolve_few", "convolve_tiles", "max_pool"):
        monkeypatch.setattr(operators, name, _noted(seen, name, getattr(operators, name)))
    return seen


def test_losses_and_gradients_are_those_of_torchs_kernels(calls):
    ours, theirs = step(train_net()), step(train_net(fast=False))
    assert calls == ["convolve_few", "convolve_tiles", "convolve_tiles"]
    for a, b in zip(ours, theirs, strict=True):
        assert (a - b).abs().max() < ROUNDED * b.abs().max()


def test_a_convolution_its_pooling_and_its_relu_are_one_call():
    net, plain = train_net(), train_net(fast=False)
    calls = [node.args[1:] for node in net._plan_of_modules().graph.nodes if node.target is convolve]
    assert [[module and module.target for module in modules] for modules in calls] == [
        ["conv1", "pool1", "relu1"],
        ["conv2", None, "relu2"],
        ["conv3", None, "relu3"],
    ]
    assert list(map(type, net.modules()))[1:] == list(map(type, plain.modules()))[1:]
    assert net.code == plain.code


@pytest.mark.parametrize("switch", [{"fast": False}, {"exact": True}])
def test_other_kernels_have_nothing_of_it(switch, calls):
    solver = Solver(SolverParameter(net_param=definition(), base_lr=0.1, lr_policy="fixed", max_iter=1), **switch)
    solver.step(1)
    step(train_net(**switch))
    assert calls == []


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_train_on_weights_of_their_own(duplicate):
    net = train_net()
    twin = duplicate(net)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    assert all(map(torch.equal, step(twin), step(train_net())))


@pytest.mark.parametrize("name", ["conv1", "pool1"])
def test_hooks_of_layers_see_what_their_layer_makes(name):
    net, seen = train_net(), []
    net.get_submodule(name).register_forward_hook(lambda module, inputs, output: seen.append(output.shape[2:]))
    step(net)
    assert seen == [(40, 36) if name == "conv1" else (20, 18)]


def test_small_batches_double_precision_and_evaluation_run_on_torch(calls):
    net = train_net()
    x, label = batch()
    net(x[:1], label[:1])
    assert calls == ["convolve_few"]
    calls.clear()
    net.eval()(x, label)
    net.double().train()(x.double(), label.double())
    assert calls == []


@pytest.mark.parametrize("shape", [(6, 2, 44, 40), (6, 1, 4, 40)])
def test_bottoms_of_other_channels_or_too_small_are_torchs_errors(shape, calls):
    with pytest.raises(RuntimeError):
        train_net()(torch.zeros(shape), batch()[1])
    assert calls == []


def test_a_net_for_inference_that_is_trained_after_all_has_them_too(calls):
    net = load_net(definition(), seed=3)
    with torch.no_grad():
        net(batch()[0])
    assert calls == []
    net.train()(batch()[0])
    assert calls == ["convolve_few", "convolve_tiles", "convolve_tiles"]


def test_windows_that_the_operator_does_not_have_are_pooled_by_torch():
    sides = [nn.MaxPool2d(2, ceil_mode=True), nn.MaxPool2d(2), nn.MaxPool2d(3, 2, ceil_mode=True)]
    for pool in sides:
        for field in ("kernel_size", "stride", "padding"):
            value = getattr(pool, field)
            setattr(pool, field, (value, value))
    assert [operators._side(pool) for pool in sides] == [2, 0, 0]


def test_torch_compile_sees_a_net_in_training_as_one_graph():
    net = train_net()
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    loss = compiled(*batch())
    loss.backward()
    gradients = [parameter.grad for parameter in net.parameters()]
    for a, b in zip([loss.detach(), *gradients], step(train_net()), strict=True):
        assert (a - b).abs().max() < ROUNDED * b.abs().max()
