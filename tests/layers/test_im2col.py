"""Convolutions beyond their bottom, pooling with both kernel_h and kernel_size, and empty batches."""

import pytest
import torch

from tests.layers.agreement import agree, single
from tests.nets import build_graph, build_net

CONVOLUTION = single("Convolution", [(1, 1, 1, 3)], "convolution_param { num_output: 1 kernel_size: 2 stride: 2 }")


def test_a_net_of_such_a_convolution_takes_other_sizes_and_has_the_keys_of_any_other():
    for exact in (False, True):
        net = build_net(CONVOLUTION, exact=exact)
        assert list(net.state_dict()) == ["l.weight", "l.bias"]
        assert net(torch.ones(2, 1, 4, 5)).shape == (2, 1, 2, 2)


@pytest.mark.parametrize("other", ["kernel_h", "kernel_w"])
def test_a_pooling_ignores_a_single_kernel_h_or_kernel_w_next_to_kernel_size(other):
    text = single("Pooling", [(1, 2, 5, 6)], f"pooling_param {{ kernel_size: 2 {other}: 3 }}")
    assert build_graph(text).shapes["y"] == (1, 2, 4, 5)
    agree(text)


@pytest.mark.parametrize(
    ("type_", "body", "shape"),
    [
        ("Pooling", "pooling_param { kernel_size: 2 }", (0, 3, 3, 3)),
        ("Convolution", "convolution_param { num_output: 2 kernel_size: 2 }", (0, 2, 3, 3)),
        ("ArgMax", "", (0, 1, 1, 1)),
    ],
)
def test_an_empty_batch_gives_empty_tops(type_, body, shape):
    net = build_net(single(type_, [(0, 3, 4, 4)], body))
    assert net(torch.zeros(0, 3, 4, 4)).shape == net.caffe.shapes["y"] == shape
