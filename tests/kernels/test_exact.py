"""Modules that sum in Caffe's order: values, gradients, copies, export, and float64."""

import copy
import pickle

import pytest
import torch

from caffe_compat import load_net
from caffe_compat.build.exact import ExactConv2d, ExactLinear
from caffe_compat.formats.text import parse_text
from caffe_compat.schema import caffe_pb2 as pb

TEXT = """
layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 2 dim: 4 dim: 9 dim: 9 } } }
layer { name: "c" type: "Convolution" bottom: "d" top: "c" convolution_param { num_output: 6 kernel_size: 3 pad: 1 group: 2 } }
layer { name: "p" type: "Pooling" bottom: "c" top: "p" pooling_param { kernel_size: 3 stride: 3 } }
layer { name: "f" type: "InnerProduct" bottom: "p" top: "f" inner_product_param { num_output: 5 } }
"""


@pytest.fixture
def nets():
    message = parse_text(TEXT, pb.NetParameter)
    exact, plain = load_net(message, exact=True, seed=0), load_net(message, seed=0)
    plain.load_state_dict(exact.state_dict())
    return exact.train(), plain.train()


def test_values_and_gradients_equal_torchs_up_to_rounding(nets):
    exact, plain = nets
    assert isinstance(exact.c, ExactConv2d)
    assert isinstance(exact.f, ExactLinear)
    x = torch.randn(2, 4, 9, 9)
    gradients = []
    for net in nets:
        bottom = x.clone().requires_grad_()
        net(bottom).square().sum().backward()
        gradients.append([bottom.grad, *(p.grad for p in net.parameters())])
    torch.testing.assert_close(exact(x), plain(x))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_copies_and_pickles_compute_the_same_bits(nets):
    exact, x = nets[0], torch.randn(2, 4, 9, 9)
    assert torch.equal(copy.deepcopy(exact)(x), exact(x))
    assert torch.equal(pickle.loads(pickle.dumps(exact))(x), exact(x))


def test_float64_uses_torchs_own_sums(nets):
    exact, plain = (net.double() for net in nets)
    x = torch.randn(2, 4, 9, 9, dtype=torch.float64)
    torch.testing.assert_close(exact(x), plain(x), rtol=1e-12, atol=1e-12)


def test_an_exported_net_computes_the_same_bits(nets):
    exact, x = nets[0].eval(), torch.randn(2, 4, 9, 9)
    exported = torch.export.export(exact, (x,))
    assert torch.equal(exported.module()(x), exact(x))


def test_the_operators_pass_torchs_opcheck():
    def leaf(*size):
        return torch.randn(size, requires_grad=True)

    rules = ("test_schema", "test_autograd_registration", "test_faketensor")
    arguments = (leaf(1, 2, 5, 5), leaf(3, 2, 3, 3), leaf(3), [1, 1], [1, 1], 1)
    torch.library.opcheck(torch.ops.caffe_compat.convolution, arguments, test_utils=rules)
    arguments = (leaf(4, 18), leaf(3, 18), leaf(3))
    torch.library.opcheck(torch.ops.caffe_compat.inner_product, arguments, test_utils=rules)
