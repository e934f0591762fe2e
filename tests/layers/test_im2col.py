"""Im2col, Deconvolution and SPP against the transcription."""

import numpy as np
import pytest
import torch

from caffe_compat.build.weights import copy_weights
from tests.layers.agreement import Values, agree, single
from tests.nets import build_graph, build_net

WINDOWS = [
    ((2, 3, 5, 6), "kernel_size: 3 stride: 2 pad: 1"),
    ((2, 3, 5, 6), "kernel_h: 1 kernel_w: 3 stride_h: 2 stride_w: 1 pad_h: 0 pad_w: 1"),
    ((1, 2, 7), "kernel_size: 3 dilation: 2"),
    ((1, 2, 4, 3, 4), "kernel_size: 2 kernel_size: 1 kernel_size: 3 stride: 2 pad: 0 pad: 0 pad: 1"),
    ((2, 2, 2, 5, 4), "kernel_size: 2 axis: 2"),
    ((3, 4, 5), "kernel_size: 2 axis: 0"),
]
BEYOND = [
    ((2, 3, 3, 5), "kernel_size: 4 stride: 2"),
    ((2, 3, 3, 4), "kernel_h: 5 kernel_w: 3 stride_h: 3 stride_w: 1"),
    ((1, 2, 2), "kernel_size: 3 dilation: 2 stride: 4 pad: 1"),
    ((1, 2, 4, 3, 4), "kernel_size: 5 stride: 3"),
    ((3, 3, 5), "kernel_size: 4 stride: 2 axis: 0"),
]
"""Kernels that reach beyond the padded bottom by less than their stride: C++ rounds towards zero, so there is one output."""
CONVOLUTION = single("Convolution", [(1, 1, 1, 3)], "convolution_param { num_output: 1 kernel_size: 2 stride: 2 }")


@pytest.mark.parametrize(
    ("shape", "body"), [*WINDOWS, *BEYOND, ((1, 2, 3, 9, 9), "kernel_size: 3 axis: -3 dilation: 3")]
)
def test_columns_are_the_transcriptions(shape, body):
    agree(single("Im2col", [shape], f"convolution_param {{ {body} }}"))


@pytest.mark.parametrize(("shape", "body"), BEYOND)
@pytest.mark.parametrize("bottoms", [1, 2])
def test_a_convolution_beyond_its_bottom_sees_zeros(shape, body, bottoms):
    body = f"convolution_param {{ num_output: 2 {body} }}"
    agree(single("Convolution", [shape] * bottoms, body, ["y", "z"][:bottoms]))


def test_values_beyond_the_bottom_are_zeros():
    net = build_net(CONVOLUTION)
    copy_weights(net, {"l": [np.array([[[[1, 10], [100, 1000]]]], "f4"), np.array([0.5], "f4")]})
    top = net(torch.tensor([[[[1.0, 2.0, 3.0]]]]))
    assert top.tolist() == [[[[21.5]]]]


def test_a_net_of_such_a_convolution_takes_other_sizes_and_has_the_keys_of_any_other():
    for exact in (False, True):
        net = build_net(CONVOLUTION, exact=exact)
        assert list(net.state_dict()) == ["l.weight", "l.bias"]
        assert net(torch.ones(2, 1, 4, 5)).shape == (2, 1, 2, 2)


@pytest.mark.parametrize(("shape", "body"), WINDOWS)
@pytest.mark.parametrize("bottoms", [1, 2])
def test_a_deconvolution_of_one_or_two_bottoms(shape, body, bottoms):
    body = f"convolution_param {{ num_output: 2 {body} }}"
    agree(single("Deconvolution", [shape] * bottoms, body, ["y", "z"][:bottoms]))


@pytest.mark.parametrize(
    "body", ["group: 2 num_output: 4", "group: 4 num_output: 4 bias_term: false", "group: 4 num_output: 8"]
)
def test_deconvolution_in_groups(body):
    agree(single("Deconvolution", [(2, 4, 3, 3)], f"convolution_param {{ kernel_size: 4 stride: 2 pad: 1 {body} }}"))


def test_the_kernel_of_a_deconvolution_may_be_larger_than_its_bottom():
    agree(single("Deconvolution", [(1, 2, 1, 1)], "convolution_param { kernel_size: 4 num_output: 3 }"))


@pytest.mark.parametrize("other", ["kernel_h", "kernel_w"])
def test_a_pooling_ignores_a_single_kernel_h_or_kernel_w_beside_kernel_size(other):
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


@pytest.mark.parametrize("grid", [False, True], ids=["normal", "grid"])
@pytest.mark.parametrize("pool", ["MAX", "AVE"])
@pytest.mark.parametrize(
    ("shape", "height"), [((2, 3, 10, 8), 3), ((1, 2, 7, 9), 3), ((1, 2, 5, 5), 1), ((1, 2, 6, 11), 2)]
)
def test_pyramids_of_any_height(shape, height, pool, grid):
    agree(single("SPP", [shape], f"spp_param {{ pyramid_height: {height} pool: {pool} }}"), values=Values(grid=grid))
