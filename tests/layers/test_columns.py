"""Im2col, Deconvolution and SPP against the transcription."""

import pytest

from caffe_compat.errors import CaffeCompatError
from caffe_compat.graph import build_graph
from caffe_compat.proto import caffe_pb2 as pb
from caffe_compat.proto.text import parse_text
from tests.layers.agreement import Values, agree, single

WINDOWS = [
    ((2, 3, 5, 6), "kernel_size: 3 stride: 2 pad: 1"),
    ((2, 3, 5, 6), "kernel_h: 1 kernel_w: 3 stride_h: 2 stride_w: 1 pad_h: 0 pad_w: 1"),
    ((1, 2, 7), "kernel_size: 3 dilation: 2"),
    ((1, 2, 4, 3, 4), "kernel_size: 2 kernel_size: 1 kernel_size: 3 stride: 2 pad: 0 pad: 0 pad: 1"),
    ((2, 2, 2, 5, 4), "kernel_size: 2 axis: 2"),
    ((3, 4, 5), "kernel_size: 2 axis: 0"),
]


@pytest.mark.parametrize(("shape", "body"), [*WINDOWS, ((1, 2, 3, 9, 9), "kernel_size: 3 axis: -3 dilation: 3")])
def test_columns(shape, body):
    agree(single("Im2col", [shape], f"convolution_param {{ {body} }}"))


@pytest.mark.parametrize(("shape", "body"), WINDOWS)
@pytest.mark.parametrize("bottoms", [1, 2])
def test_deconvolution(shape, body, bottoms):
    text = single(
        "Deconvolution", [shape] * bottoms, f"convolution_param {{ num_output: 2 {body} }}", ["y", "z"][:bottoms]
    )
    agree(text)


@pytest.mark.parametrize(
    "body", ["group: 2 num_output: 4", "group: 4 num_output: 4 bias_term: false", "group: 4 num_output: 8"]
)
def test_deconvolution_in_groups(body):
    agree(single("Deconvolution", [(2, 4, 3, 3)], f"convolution_param {{ kernel_size: 4 stride: 2 pad: 1 {body} }}"))


def test_the_kernel_of_a_deconvolution_may_be_larger_than_its_bottom():
    agree(single("Deconvolution", [(1, 2, 1, 1)], "convolution_param { kernel_size: 4 num_output: 3 }"))


@pytest.mark.parametrize("grid", [False, True], ids=["normal", "grid"])
@pytest.mark.parametrize("pool", ["MAX", "AVE"])
@pytest.mark.parametrize(
    ("shape", "height"), [((2, 3, 10, 8), 3), ((1, 2, 7, 9), 3), ((1, 2, 5, 5), 1), ((1, 2, 6, 11), 2)]
)
def test_pyramids(shape, height, pool, grid):
    agree(single("SPP", [shape], f"spp_param {{ pyramid_height: {height} pool: {pool} }}"), values=Values(grid=grid))


@pytest.mark.parametrize(
    ("type_", "body", "problem"),
    [
        ("Im2col", "convolution_param { kernel_size: 9 }", "larger than the bottom"),
        ("Deconvolution", "convolution_param { kernel_size: 1 num_output: 1 pad: 3 }", "leaves nothing"),
        ("Deconvolution", "convolution_param { kernel_size: 1 num_output: 3 group: 2 }", "must divide"),
        ("SPP", "", "must be positive"),
        ("SPP", "spp_param { pyramid_height: 2 pool: STOCHASTIC }", "needs padding"),
        ("SPP", "spp_param { pyramid_height: 4 }", "too small"),
    ],
)
def test_what_does_not_fit_is_refused(type_, body, problem):
    with pytest.raises(CaffeCompatError, match=problem):
        build_graph(parse_text(single(type_, [(1, 2, 5, 5)], body), pb.NetParameter))
