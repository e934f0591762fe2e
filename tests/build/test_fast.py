"""A net on compiled steps computes what its modules compute, and steps aside where it could not."""

import copy
import ctypes
import functools
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from caffe_compat import load_net
from caffe_compat.build import fast as fast_module
from caffe_compat.build.fast import FastNet
from caffe_compat.build.net import _is_as_built
from caffe_compat.build.watch import Form
from caffe_compat.definition.netspec import NetSpec
from caffe_compat.definition.netspec import layers as L
from caffe_compat.definition.netspec import params as P
from caffe_compat.kernels.fast import library
from caffe_compat.kernels.fast.library import vector_lengths
from caffe_compat.layers import REGISTRY
from caffe_compat.runtime.tensors import is_observed
from tests.layers.examples import EXAMPLES, example_net
from tests.nets import build_net as build_text

ROUNDED = 3e-6
"""float32 against float64, of the largest value."""


def fast_net(net):
    return FastNet(net.caffe, net.returns, _is_as_built)


MSRA = {"weight_filler": {"type": "msra"}, "bias_filler": {"type": "gaussian"}}

needs_code = pytest.mark.skipif(not vector_lengths(), reason="installed without a compiler")


def start(*shape):
    n = NetSpec()
    n.data = L.Input(shape={"dim": list(shape)})
    return n


def conv(n, name, bottom, outputs, size, **more):
    n[name] = L.Convolution(bottom, num_output=outputs, kernel_size=size, **MSRA, **more)
    return n[name]


def norm(n, name, bottom):
    n[f"{name}_bn"] = L.BatchNorm(bottom, in_place=True)
    n[f"{name}_scale"] = L.Scale(n[f"{name}_bn"], in_place=True, bias_term=True, filler={"type": "gaussian"})
    return n[f"{name}_scale"]


def relu(n, name, bottom, **more):
    n[name] = L.ReLU(bottom, in_place=True, **more)
    return n[name]


def residual():
    n = start(2, 3, 33, 30)
    x = relu(n, "relu1", norm(n, "conv1", conv(n, "conv1", n.data, 24, 3, stride=2, pad=1)))
    y = relu(n, "relu2", norm(n, "conv2", conv(n, "conv2", x, 20, 3, pad=1)))
    y = norm(n, "conv3", conv(n, "conv3", y, 24, 1))
    n.sum = L.Eltwise(x, y)
    n.pool = L.Pooling(relu(n, "relu3", n.sum), pool=P.Pooling.AVE, global_pooling=True)
    n.ip = L.InnerProduct(n.pool, num_output=5, **MSRA)
    return n


def inception():
    n = start(3, 16, 21, 19)
    n.a, n.b = L.Convolution(n.data, num_output=16, kernel_size=1, **MSRA), L.PReLU(conv(n, "c", n.data, 32, 3, pad=1))
    n.pooled = L.Pooling(n.data, kernel_size=3, stride=1, pad=1)
    n.joined = L.Concat(n.a, n.b, n.pooled, n.data)
    conv(n, "last", n.joined, 7, 5, pad=2)
    return n


def alexnet():
    n = start(2, 3, 51, 51)
    x = relu(n, "relu1", conv(n, "conv1", n.data, 32, 7, stride=2))
    n.lrn = L.LRN(x, local_size=5, alpha=1e-2)
    n.pool1 = L.Pooling(n.lrn, kernel_size=3, stride=2)
    x = relu(n, "relu2", conv(n, "conv2", n.pool1, 64, 5, pad=2, group=2), negative_slope=0.1)
    n.pool2 = L.Pooling(x, kernel_size=3, stride=2, pool=P.Pooling.AVE, pad=1)
    n.drop = L.Dropout(n.pool2, in_place=True)
    n.ip = L.InnerProduct(n.drop, num_output=9, **MSRA)
    return n


def odd_groups():
    n = start(2, 6, 12, 12)
    n.conv = L.Convolution(n.data, num_output=9, kernel_size=3, group=3, **MSRA)
    return n


def scale_alone():
    n = start(2, 5, 9, 9)
    n.pool = L.Pooling(n.data, kernel_size=2, stride=2)
    n.scaled = L.Scale(n.pool, bias_term=True, filler={"type": "gaussian"}, bias_filler={"type": "gaussian"})
    conv(n, "conv", relu(n, "relu", n.scaled), 3, 3)
    return n


def read_twice():
    n = start(2, 16, 14, 14)
    x = conv(n, "conv", n.data, 16, 3, pad=1)
    n.bent, n.scaled = L.ReLU(x), L.Scale(x)
    n.sum = L.Eltwise(n.bent, n.scaled, x)
    n.twice = L.Eltwise(n.sum, n.sum)
    return n


def pooled():
    n = start(2, 1, 31, 34)
    n.pool1 = L.Pooling(relu(n, "relu1", conv(n, "conv1", n.data, 20, 5)), kernel_size=2, stride=2)
    n.pool2 = L.Pooling(conv(n, "conv2", n.pool1, 6, 3), kernel_size=4, stride=4)
    return n


def heads():
    n = start(2, 3, 24, 24)
    x = relu(n, "relu1", conv(n, "conv1", n.data, 16, 3, pad=1))
    n.power = L.Power(conv(n, "head1", x, 8, 3, pad=1), power=2)
    n.flat1 = L.Flatten(n.power)
    n.pool = L.Pooling(x, kernel_size=2, stride=2)
    n.flat2 = L.Flatten(conv(n, "head2", n.pool, 8, 3, pad=1))
    n.out = L.Concat(n.flat1, n.flat2)
    return n


def separable():
    n = start(3, 3, 29, 28)
    x = relu(n, "relu1", norm(n, "conv1", conv(n, "conv1", n.data, 24, 3, stride=2, pad=1)))
    for i, (width, outputs, stride) in enumerate(((24, 40, 1), (40, 36, 2), (36, 24, 1)), 2):
        x = relu(n, f"relu{i}", norm(n, f"dw{i}", conv(n, f"dw{i}", x, width, 3, pad=1, group=width, stride=stride)))
        x = conv(n, f"conv{i}", x, outputs, 1)
    return n


def classifier():
    n = start(3, 2, 19, 18)
    x = conv(n, "conv", n.data, 24, 3)
    n.whole = L.Pooling(x, global_pooling=True)
    n.ip1 = L.InnerProduct(x, num_output=32, transpose=True, bias_term=False, **MSRA)
    n.drop = L.Dropout(relu(n, "relu1", norm(n, "ip1", n.ip1)), in_place=True)
    n.flat = L.Flatten(n.whole)
    n.shaped = L.Reshape(x, shape={"dim": [0, -1]})
    n.ip2 = L.InnerProduct(n.shaped, num_output=24, **MSRA)
    n.sum = L.Eltwise(L.PReLU(n.ip2), n.flat)
    n.joined = L.Concat(n.drop, n.sum)
    n.ip3 = L.InnerProduct(n.joined, num_output=5, **MSRA)
    n.late = L.InnerProduct(L.Power(n.ip3, power=2), num_output=3, **MSRA)
    return n


def features_last():
    """Scores of a batch come before features of a group of images."""
    n = start(2, 3, 20, 20)
    n.conv = conv(n, "conv1", n.data, 24, 3)
    n.ip = L.InnerProduct(n.conv, num_output=5, **MSRA)
    n.features = L.Pooling(n.conv, pool=P.Pooling.AVE, global_pooling=True)
    return n


NETS = [
    residual,
    inception,
    alexnet,
    odd_groups,
    scale_alone,
    read_twice,
    pooled,
    heads,
    separable,
    classifier,
    features_last,
]


def build(make, **options):
    net = load_net(make().to_proto(), seed=0, **options)
    for name, tensor in net.state_dict().items():
        if name.endswith(("mean", "variance", "factor")):
            tensor.copy_(torch.rand(tensor.shape) + 0.5)
    return net


def inputs_of(net, images=None):
    return [torch.randn(images or shape[0], *shape[1:]) for shape in (net.caffe.shapes[blob] for blob in net.inputs)]


@torch.no_grad()
def both(net, *inputs):
    """What a net returns on compiled steps and on its modules."""
    quick = net(*inputs)
    net.meta["fast"] = False
    plain = net(*inputs)
    net.meta["fast"] = True
    return quick, plain


@torch.no_grad()
def agree(net, *inputs):
    """What a net returns on compiled steps is what its modules compute in float64."""
    results = net(*inputs), copy.deepcopy(net).double()(*(x.double() for x in inputs))
    quick, exact = ((it if isinstance(it, dict) else {"top": it}) for it in results)
    assert quick.keys() == exact.keys()
    for blob, value in exact.items():
        assert quick[blob].shape == value.shape
        assert (quick[blob] - value).abs().max() <= ROUNDED * value.abs().max()


def segments(net):
    return [part for part in fast_net(net)._parts if hasattr(part, "calls")]


@needs_code
@pytest.mark.parametrize("make", NETS)
@pytest.mark.parametrize("images", [1, 2, 7])
def test_a_net_computes_what_its_modules_compute(make, images):
    net = build(make)
    assert segments(net)
    agree(net, *inputs_of(net, images))


@needs_code
def test_layers_between_modules_are_gathered_into_few_programs():
    assert [len(segments(build(make))) for make in (heads, alexnet, residual)] == [1, 2, 1]


@needs_code
def test_one_program_runs_from_an_image_to_scores():
    assert [len(fast_net(net)._parts) for net in map(build, (residual, pooled))] == [1, 1]


@needs_code
@pytest.mark.parametrize("make", [residual, inception, heads])
def test_a_net_takes_maps_of_other_sizes(make):
    net = build(make)
    for height, width in ((26, 31), (17, 40), (26, 31)):
        if make is not heads:
            agree(net, torch.randn(2, net.caffe.shapes["data"][1], height, width))


@needs_code
def test_changed_weights_are_followed():
    net = build(residual)
    (x,) = inputs_of(net)
    with torch.no_grad():
        before = net(x)
        net.conv2.weight.mul_(2)
        net.conv1_bn.mean.add_(1)
    assert not torch.equal(net(x), before)
    agree(net, x)
    net.load_state_dict({name: value * 0.9 for name, value in net.state_dict().items()})
    agree(net, x)


@needs_code
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_of_a_net_has_programs_of_its_own(copied):
    net = build(alexnet)
    (x,) = inputs_of(net)
    with torch.no_grad():
        expected = net(x)
        twin = copied(net)
        assert torch.equal(twin(x), expected)
        twin.conv1.weight.zero_()
        assert torch.equal(net(x), expected)
    agree(twin, x)


def runs_fast(net, *inputs):
    return not is_observed() and fast_net(net).suits(net, inputs)


@torch.no_grad()
def test_a_pass_that_needs_the_modules_gets_them():
    net = build(pooled)
    (x,) = inputs_of(net)
    assert runs_fast(net, x)
    assert not runs_fast(net, x.double())
    assert not runs_fast(net, x.to("meta"))
    with torch.enable_grad():
        assert not runs_fast(net, x)
        assert net(x).requires_grad
    with torch.autocast("cpu"):
        assert not runs_fast(net, x)
    net.train()
    assert not runs_fast(net, x)
    net.eval()
    hook = net.conv2.register_forward_hook(lambda *_: None)
    assert not runs_fast(net, x)
    hook.remove()
    net.double()
    assert not runs_fast(net, x)


@torch.no_grad()
def test_a_module_put_in_a_layers_place_is_called():
    net = build(pooled)
    (x,) = inputs_of(net)
    net(x)
    net.conv2 = torch.nn.Sequential(net.conv2, torch.nn.Sigmoid())
    assert 0 <= net(x).min() <= net(x).max() <= 1


def test_exact_nets_and_those_that_ask_for_it_keep_their_modules():
    assert not load_net(pooled().to_proto(), exact=True).meta["fast"]
    assert not load_net(pooled().to_proto(), fast=False).meta["fast"]


@torch.no_grad()
def test_without_compiled_code_a_net_runs_on_torch(monkeypatch):
    net = build(residual)
    monkeypatch.setattr(fast_module, "vector_lengths", tuple)
    quick, plain = both(net, *inputs_of(net))
    assert torch.equal(quick, plain)


@pytest.fixture
def without_code(monkeypatch):
    """A process in which the compiled code has not been looked for, and is missing."""
    monkeypatch.setitem(sys.modules, "caffe_compat.kernels.fast._native", None)
    for cached in (library._library, library.vector_lengths):
        monkeypatch.setattr(library, cached.__name__, functools.cache(cached.__wrapped__))
    monkeypatch.setattr(fast_module, "vector_lengths", library.vector_lengths)


@torch.no_grad()
def test_the_first_pass_without_compiled_code_says_so(without_code, caplog):
    ip = start(2, 5)
    ip.ip = L.InnerProduct(ip.data, num_output=3, **MSRA)
    for make, options in ((lambda: ip, {}), (pooled, {"fast": False}), (pooled, {"exact": True})):
        net = build(make, **options)
        net(*inputs_of(net))
    assert not caplog.records
    for make in (pooled, residual, pooled):
        net = build(make)
        net(*inputs_of(net))
    (record,) = caplog.records
    assert (record.levelname, record.name) == ("WARNING", library.__name__)


@torch.no_grad()
@needs_code
def test_compiled_code_of_another_version_is_not_run(monkeypatch, caplog):
    class Step(library.CStep):
        _fields_ = (("more", ctypes.c_int),)

    monkeypatch.setattr(library, "CStep", Step)
    monkeypatch.setattr(library, "_library", functools.cache(library._library.__wrapped__))
    assert library.vector_lengths.__wrapped__() == ()
    (record,) = caplog.records
    assert "another version" in record.getMessage()


@torch.no_grad()
def test_a_net_without_convolutions_has_no_programs():
    n = start(2, 5)
    n.ip = L.InnerProduct(n.data, num_output=3, **MSRA)
    net = load_net(n.to_proto(), seed=0)
    assert not fast_net(net).is_useful
    assert torch.equal(*both(net, *inputs_of(net)))


@needs_code
def test_threads_can_share_nets():
    nets = [build(residual), build(pooled)]
    cases = [(net, *inputs_of(net, 2)) for net in nets * 6]

    def run(case):
        net, batch = case
        with torch.no_grad():
            return net(batch)

    expected = [*map(run, cases)]
    with ThreadPoolExecutor(3) as pool:
        for _ in range(5):
            assert all(map(torch.equal, pool.map(run, cases), expected))


@torch.no_grad()
def test_an_empty_batch_gives_empty_outputs():
    net = build(pooled)
    assert net(torch.zeros(0, 1, 31, 34)).shape == (0, 6, 3, 4)


@needs_code
@pytest.mark.parametrize(
    ("fork", "body"),
    [
        (None, 'type: "Deconvolution" convolution_param { num_output: 4 kernel_size: 4 stride: 2 pad: 1 group: 4 }'),
        (None, 'type: "Deconvolution" convolution_param { num_output: 4 kernel_size: 3 }'),
        ("pr3057", 'type: "Pooling" pooling_param { kernel_size: 2 stride: 2 ceil_mode: false }'),
        ("mobilenet", 'type: "ConvolutionDepthwise" convolution_param { num_output: 4 kernel_size: 3 }'),
        ("fast-rcnn", 'type: "Dropout" dropout_param { scale_train: false dropout_ratio: 0.75 }'),
    ],
)
def test_a_type_that_replaces_its_bases_module_is_not_computed_as_its_base(fork, body):
    filler = 'weight_filler { type: "xavier" }'
    net = build_text(
        'layer { name: "in" type: "Input" top: "data" input_param { shape { dim: [2, 4, 9, 9] } } }'
        f'layer {{ name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param {{ num_output: 4 kernel_size: 1 {filler} }} }}'
        f'layer {{ name: "l" bottom: "c" top: "l" {body.replace("kernel_size", f"{filler} kernel_size") if "convolution" in body else body} }}',
        fork=fork,
    )
    x = torch.randn(2, 4, 9, 9)
    expected = net(x).detach()  # with gradients, the modules compute
    with torch.no_grad():
        top = net(x)
    assert top.shape == expected.shape
    assert (top - expected).abs().max() <= ROUNDED * expected.abs().max()


def test_a_layer_of_ones_own_with_another_module_keeps_it():
    class Squared(type(REGISTRY["ReLU"])):
        def module(self, spec):
            raise NotImplementedError

    assert REGISTRY["ReLU"].states("function")
    assert not Squared().states("function")


def test_every_layer_with_a_function_has_its_form_as_built_and_copied():
    """Else a net with such a layer would run on its modules for ever."""
    seen = set()
    for name, example in EXAMPLES.items():
        net = example_net(name, example.text).eval()
        for node in net.caffe.nodes:
            if node.layer.states("function") and node.layer.function(node.spec) is not None:
                seen.add(type(node.layer).__name__)
                with torch.device("meta"):
                    form = Form.of(node.layer.module(node.spec))
                for each in (net, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
                    assert form.fits(each.get_submodule(node.key)), name
    assert seen >= {"Convolution", "InnerProduct", "ReLU", "PReLU", "Scale", "Eltwise", "Dropout"}
