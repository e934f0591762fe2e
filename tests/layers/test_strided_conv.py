"""1 x 1 convolutions with a stride and few channels, whose weight gradient in oneDNN kills the process."""

import torch

from caffe_compat import load_net
from caffe_compat.formats.files import parse_text
from caffe_compat.schema import caffe_pb2 as pb

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 16 dim: 8 dim: 60 dim: 60 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 16 kernel_size: 1 stride: 2 weight_filler { type: "xavier" } } }
"""


def test_weight_gradients_are_those_of_the_definition():
    net = load_net(parse_text(NET, pb.NetParameter), phase="TRAIN", seed=1)
    weight = net.get_submodule("conv").weight
    x = torch.rand(16, 8, 60, 60, generator=torch.Generator().manual_seed(1))
    expected = x[:, :, ::2, ::2].double().sum(dim=(0, 2, 3)).float().repeat(16, 1)[:, :, None, None]
    for _ in range(5):
        top = net(x.contiguous(memory_format=torch.channels_last))
        assert top.shape == (16, 16, 30, 30)
        (gradient,) = torch.autograd.grad(top.sum(), weight)
        torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=0)


def test_values_are_the_same_with_and_without_gradients():
    net = load_net(parse_text(NET, pb.NetParameter), seed=1)
    x = torch.rand(16, 8, 60, 60, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = net(x)
    torch.testing.assert_close(net(x).detach(), expected, rtol=1e-6, atol=1e-6)
