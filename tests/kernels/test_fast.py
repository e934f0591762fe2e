"""Compiled steps: convolutions of every kind, on every instruction set that this processor has, and by any threads."""

import math
import multiprocessing
import os

import pytest
import torch
import torch.nn.functional as F

from caffe_compat.kernels.fast import library, tiles
from caffe_compat.kernels.fast.program import Finish, Program, by_tiles
from caffe_compat.layers.functions import Window

ROUNDED = 2e-6
"""float32 against float64, of the largest value: sums of up to 1,600 products."""
TIMES_TORCH = 4
"""How many times the error of torch's own convolution that of a convolution by tiles may be."""

SHAPES = {  # channels, outputs, kernel, stride, pad, dilation, groups, height, width
    "1x1": (64, 40, (1, 1), 1, 0, 1, 1, 9, 7),
    "1x1, stride 2": (64, 40, (1, 1), 2, 0, 1, 1, 9, 7),
    "1x1, many pixels": (20, 40, (1, 1), 1, 0, 1, 1, 3, 250),
    "long lines": (3, 10, (3, 3), 1, 1, 1, 1, 4, 300),
    "one channel": (1, 64, (5, 5), 1, 0, 1, 1, 20, 22),
    "three channels": (3, 10, (3, 3), 1, 1, 1, 1, 17, 15),
    "stride 2": (3, 64, (7, 7), 2, 3, 1, 1, 30, 31),
    "dilation": (32, 16, (3, 3), 1, 2, 2, 1, 14, 12),
    "oblong": (5, 6, (3, 1), 1, 0, 1, 1, 9, 8),
    "groups": (64, 64, (5, 5), 1, 2, 1, 2, 12, 12),
    "each channel": (24, 24, (3, 3), 1, 1, 1, 24, 9, 12),
    "each channel, stride 2": (24, 24, (3, 3), 2, 1, 1, 24, 9, 12),
    "each channel, many": (200, 200, (3, 3), 1, 1, 1, 200, 7, 7),
    "each channel, 5x5": (24, 24, (5, 5), 1, 2, 1, 24, 9, 12),
    "tiles of 6": (16, 32, (3, 3), 1, 1, 1, 1, 41, 53),
    "tiles of 10": (20, 17, (5, 5), 1, 2, 1, 1, 43, 34),
    "tiles of 10, 7x7": (16, 16, (7, 7), 1, 3, 1, 1, 44, 42),
    "many channels": (512, 24, (3, 3), 2, 1, 1, 1, 9, 9),
}

pytestmark = pytest.mark.skipif(not library.vector_lengths(), reason="installed without a compiler")


def draw(shape, images):
    channels, outputs, kernel, stride, pad, dilation, groups, height, width = shape
    generator = torch.Generator().manual_seed(images)
    x, weight, bias = (
        torch.randn(size, generator=generator)
        for size in ((images, channels, height, width), (outputs, channels // groups, *kernel), (outputs,))
    )
    return x, weight, bias, Window(kernel, (stride, stride), (pad, pad), (dilation, dilation)), groups


def convolve(lanes, x, weight, window, groups, finish, *others):
    program = Program(lanes)
    source = program.load(*x.shape[1:])
    for other in others:
        program.load(*other.shape[1:])
    program.store(program.convolution(source, weight, window, groups, finish))
    (y,) = program.compile()(x, *others)
    return y


def torch_convolve(x, weight, bias, window, groups):
    return F.conv2d(x, weight, bias, window.stride, window.pad, window.dilation, groups)


def error(result, exact):
    return float((result - exact).abs().max() / exact.abs().max())


@pytest.mark.parametrize("lanes", library.vector_lengths())
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize(("images", "count"), [(1, 1), (1, 3), (9, 2)])
def test_a_convolution_is_that_of_float64(lanes, shape, images, count, threads):
    threads(count)
    x, weight, bias, window, groups = draw(shape, images)
    exact = torch_convolve(x.double(), weight.double(), bias.double(), window, groups)
    assert error(convolve(lanes, x, weight, window, groups, Finish(bias)), exact) < ROUNDED


@pytest.mark.parametrize("name", [name for name in SHAPES if "tiles" in name])
def test_these_shapes_are_computed_by_tiles(name):
    _, weight, _, window, groups = draw(SHAPES[name], 1)
    assert by_tiles(weight, window, groups, window.output(SHAPES[name][-2:]))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_results_have_the_same_bits_for_any_threads_and_any_batch(shape, threads):
    x, weight, bias, window, groups = draw(shape, 7)
    lanes = library.vector_lengths()[0]
    threads(1)
    alone = torch.cat([convolve(lanes, image[None], weight, window, groups, Finish(bias)) for image in x])
    for count in (1, 2, 3):
        threads(count)
        for images in (1, 2, 7):
            assert torch.equal(convolve(lanes, x[:images], weight, window, groups, Finish(bias)), alone[:images])


@pytest.mark.parametrize(
    ("channels", "outputs", "kernel", "size", "of_torch"),
    [
        (64, 64, 3, 56, 2.3e-7),
        (256, 256, 3, 28, 2.7e-7),
        (512, 512, 3, 28, 3.0e-7),
        (64, 128, 5, 46, 2.9e-7),
        (128, 256, 5, 21, 2.9e-7),
        (64, 64, 7, 40, 4.4e-7),
    ],
)
@pytest.mark.parametrize("lanes", library.vector_lengths())
def test_tiles_lose_no_more_digits_than_stated(channels, outputs, kernel, size, of_torch, lanes):
    """Torch's errors are those of docs/speed.md: they depend on the kernel that torch picks."""
    shape = (channels, outputs, (kernel, kernel), 1, 0, 1, 1, size, size)
    x, weight, bias, window, groups = draw(shape, 2)
    x, weight = x.relu(), weight * (2 / weight[0].numel()) ** 0.5
    exact = torch_convolve(x.double(), weight.double(), bias.double(), window, groups)
    assert error(convolve(lanes, x, weight, window, groups, Finish(bias)), exact) < TIMES_TORCH * of_torch


@pytest.mark.parametrize("name", ["1x1", "one channel", "tiles of 6", "each channel"])
def test_a_sum_is_finished_in_this_order(name):
    x, weight, bias, window, groups = draw(SHAPES[name], 3)
    other = torch.randn(3, len(weight), *window.output(SHAPES[name][-2:]))
    slope = torch.rand(len(weight))
    finish = Finish(bias, residual=1, slope=slope)
    exact = F.prelu(torch_convolve(x.double(), weight.double(), bias.double(), window, groups) + other, slope.double())
    assert error(convolve(library.vector_lengths()[0], x, weight, window, groups, finish, other), exact) < ROUNDED


@pytest.mark.parametrize("side", [2, 3])
def test_lines_are_pooled_as_they_come(side, threads):
    x, weight, bias, window, groups = draw(SHAPES["one channel"], 5)
    exact = torch_convolve(x.double(), weight.double(), bias.double(), window, groups).relu()
    exact = F.max_pool2d(exact, side, side, ceil_mode=True)
    for count in (1, 2, 6):
        threads(count)
        result = convolve(library.vector_lengths()[0], x, weight, window, groups, Finish(bias, relu=True, pooled=side))
        assert error(result, exact) < ROUNDED


def multiply(lanes, x, weight, finish):
    program = Program(lanes)
    program.store(program.inner_product(program.load(*x.shape[1:]), weight, finish))
    (y,) = program.compile()(x)
    return y.flatten(1)


@pytest.mark.parametrize("lanes", library.vector_lengths())
@pytest.mark.parametrize("shape", [(3, 1, 1), (40, 5, 7), (2500, 1, 1)])
@pytest.mark.parametrize(("outputs", "count"), [(1, 1), (35, 3)])
def test_an_inner_product_is_that_of_float64(lanes, shape, outputs, count, threads):
    threads(count)
    weight, bias = torch.randn(outputs, math.prod(shape)), torch.randn(outputs)
    for images in (1, 5, 61):
        x = torch.randn(images, *shape)
        exact = F.linear(x.double().flatten(1), weight.double(), bias.double())
        assert error(multiply(lanes, x, weight, Finish(bias)), exact) < ROUNDED


def test_inner_products_have_the_same_bits_for_any_threads_and_any_batch(threads):
    x, weight = torch.randn(61, 45, 5, 5), torch.randn(35, 1125)
    lanes = library.vector_lengths()[0]
    threads(1)
    alone = torch.cat([multiply(lanes, image[None], weight, Finish()) for image in x])
    for count in (1, 2, 3):
        threads(count)
        for images in (1, 2, 9, 61):
            assert torch.equal(multiply(lanes, x[:images], weight, Finish()), alone[:images])


def test_weights_of_inner_products_are_not_copied():
    weight = torch.zeros(4, 8)
    program = Program(library.vector_lengths()[0])
    program.store(program.inner_product(program.load(8, 1, 1), weight, Finish()))
    compiled = program.compile()
    weight += 1
    (y,) = compiled(torch.ones(1, 8, 1, 1))
    assert y.flatten().tolist() == [8, 8, 8, 8]


@pytest.mark.parametrize(("kernel", "pad"), [(3, (1, 0)), (5, (2, 2)), (7, (0, 3))])
def test_tiles_in_plain_torch_are_a_convolution(kernel, pad):
    x, weight, bias = (
        torch.randn(size, dtype=torch.float64) for size in ((2, 5, 23, 31), (4, 5, kernel, kernel), (4,))
    )
    exact = F.conv2d(x, weight, bias, padding=pad)
    assert error(tiles.convolve(x, weight, bias, pad), exact) < 1e-14


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_relu_treats_what_is_no_number_as_caffe_does(value):
    program = Program(library.vector_lengths()[0])
    program.store(program.finish(program.load(1, 1, 2), Finish(relu=True)))
    x = torch.tensor([value, -1.0]).view(1, 1, 1, 2)
    (y,) = program.compile()(x)
    torch.testing.assert_close(y, torch.relu(x), equal_nan=True, rtol=0, atol=0)


def _run_and_send(compiled, x, queue):
    queue.put(compiled(x)[0][-1, -1, -1, -1].item())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("images", [1, 4])
def test_a_forked_child_computes_with_threads_of_its_own(images, threads):
    threads(2)
    x, weight, bias, window, groups = draw(SHAPES["tiles of 6"], images)
    program = Program(library.vector_lengths()[0])
    program.store(program.convolution(program.load(*x.shape[1:]), weight, window, groups, Finish(bias)))
    compiled = program.compile()
    expected = compiled(x)[0][-1, -1, -1, -1].item()
    fork = multiprocessing.get_context("fork")
    queue = fork.SimpleQueue()
    child = fork.Process(target=_run_and_send, args=(compiled, x, queue))
    child.start()
    child.join(60)
    ended = child.exitcode == 0
    child.kill()
    assert ended
    assert queue.get() == expected
