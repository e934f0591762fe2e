"""Compiled operators for training: values, gradients, what they tell torch, and the same bits with any threads."""

import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from caffe_compat.kernels.fast import library, ops

ROUNDED = 2e-6
"""float32 against float64, of the largest value: sums of some thousand products."""
TILED = {  # images, channels, outputs, kernel, pad, height, width
    "3x3": (3, 16, 32, 3, (1, 1), 13, 14),
    "5x5": (2, 64, 48, 5, (0, 0), 21, 30),
    "5x5, padded": (3, 32, 16, 5, (2, 1), 20, 17),
    "7x7": (2, 16, 16, 7, (3, 3), 22, 20),
    "many tiles": (9, 16, 16, 3, (0, 0), 70, 66),
    "weights larger than a block": (2, 128, 256, 5, (0, 0), 21, 21),
}
NARROW = {  # images, channels, outputs, kernel, stride, pad, height, width, pooled, relu
    "CNN+D's first": (3, 1, 64, 5, (1, 1), (0, 0), 20, 21, 2, True),
    "colours": (3, 3, 32, 3, (1, 1), (1, 1), 13, 14, 0, True),
    "stride": (2, 3, 64, 7, (2, 2), (3, 3), 31, 30, 0, False),
    "wide windows": (1, 1, 16, 5, (1, 1), (0, 0), 17, 19, 4, False),
    "oblong strides": (2, 4, 16, 3, (2, 1), (0, 1), 15, 10, 3, True),
}

pytestmark = pytest.mark.skipif(not library.vector_lengths(), reason="installed without a compiler")


@pytest.fixture(params=library.vector_lengths())
def lanes(request, monkeypatch):
    """Runs a test on every instruction set that this processor has."""
    monkeypatch.setattr(library, "vector_lengths", lambda: (request.param,))


def draw(*shapes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def passes(function, tensors, gradient):
    """Return what a function makes of tensors, and the gradients to them."""
    tensors = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    top = function(*tensors)
    return [top.detach(), *torch.autograd.grad(top, tensors, gradient.to(top.dtype))]


def compare(function, reference, tensors):
    gradient = torch.randn(reference(*tensors).shape, generator=torch.Generator().manual_seed(1))
    exact = passes(reference, [tensor.double() for tensor in tensors], gradient)
    for ours, theirs in zip(passes(function, tensors, gradient), exact, strict=True):
        assert (ours - theirs).abs().max() < ROUNDED * theirs.abs().max()


def tiled(case):
    images, channels, outputs, kernel, pad, height, width = case
    shapes = (images, channels, height, width), (outputs, channels, kernel, kernel), (outputs,)
    return draw(*shapes), lambda x, w, b: ops.convolve_tiles(x, w, b, pad), lambda x, w, b: F.conv2d(x, w, b, 1, pad)


def narrow(case):
    images, channels, outputs, kernel, stride, pad, height, width, pooled, relu = case
    shapes = (images, channels, height, width), (outputs, channels, kernel, kernel), (outputs,)

    def reference(x, w, b):
        y = F.conv2d(x, w, b, stride, pad)
        y = F.max_pool2d(y, pooled, ceil_mode=True) if pooled else y
        return y.relu() if relu else y

    return draw(*shapes), lambda x, w, b: ops.convolve_few(x, w, b, stride, pad, pooled, relu)[0], reference


@pytest.mark.usefixtures("lanes")
@pytest.mark.parametrize("case", TILED.values(), ids=TILED)
def test_a_convolution_by_tiles_and_its_gradients_are_those_of_float64(case):
    tensors, function, reference = tiled(case)
    compare(function, reference, tensors)


@pytest.mark.usefixtures("lanes")
@pytest.mark.parametrize("case", NARROW.values(), ids=NARROW)
def test_a_convolution_of_few_channels_and_its_gradients_are_those_of_float64(case):
    tensors, function, reference = narrow(case)
    compare(function, reference, tensors)


@pytest.mark.usefixtures("lanes")
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(("side", "size"), [(2, (11, 13)), (3, (9, 9)), (4, (2, 17))])
def test_pooling_and_its_gradient_are_torchs(relu, side, size):
    (x,) = draw((3, 32, *size))

    def reference(x):
        y = F.max_pool2d(x, side, ceil_mode=True)
        return y.relu() if relu else y

    gradient = torch.randn(reference(x).shape)
    ours = passes(lambda x: ops.max_pool(x, side, relu)[0], [x], gradient)
    assert all(map(torch.equal, ours, passes(reference, [x], gradient)))


def test_the_first_of_equal_values_gets_the_gradient():
    x = torch.ones(1, 16, 4, 4)
    _, to_x = passes(lambda x: ops.max_pool(x, 2, False)[0], [x], torch.ones(1, 16, 2, 2))
    expected = torch.tensor([[1.0, 0], [0, 0]]).repeat(2, 2).expand(1, 16, 4, 4)
    assert torch.equal(to_x, expected)


@pytest.mark.parametrize(
    ("make", "case"),
    [(tiled, TILED["many tiles"]), (tiled, TILED["weights larger than a block"]), (narrow, NARROW["CNN+D's first"])],
)
def test_results_have_the_same_bits_with_any_threads(make, case, threads):
    tensors, function, _ = make(case)
    gradient = torch.randn(function(*tensors).shape)
    threads(1)
    alone = passes(function, tensors, gradient)
    for count in (2, 3):
        threads(count)
        assert all(map(torch.equal, passes(function, tensors, gradient), alone))


def test_results_have_the_same_bits_with_any_threads_whatever_the_processor():
    """MKL's kernels for processors without AVX add in an order that depends on the threads."""
    code = """
import torch
from caffe_compat.kernels.fast import library, ops
from caffe_compat.kernels.fast.program import Finish, Program
from caffe_compat.layers.functions import Window

x, weight, gradient = torch.randn(2, 32, 40, 41), torch.randn(64, 32, 5, 5), torch.randn(2, 64, 36, 37)
x.requires_grad_(), weight.requires_grad_()
results = []
for threads in (1, 2, 3):
    torch.set_num_threads(threads)
    top = ops.convolve_tiles(x, weight, None, (0, 0))
    program = Program(library.vector_lengths()[0])
    program.store(program.convolution(program.load(32, 40, 41), weight.detach(), Window((5, 5)), 1, Finish()))
    tensors = [top, *torch.autograd.grad(top, (x, weight), gradient), *program.compile()(x.detach())]
    results.append([tensor.detach().numpy().tobytes() for tensor in tensors])
assert results[0] == results[1] == results[2]
"""
    environment = {**os.environ, "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "ATEN_CPU_CAPABILITY": "default"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("needed", [0, 1, 2])
def test_only_the_gradients_asked_for_are_computed(needed):
    for (tensors, function, reference), tolerance in (
        (tiled(TILED["3x3"]), ROUNDED),
        (narrow(NARROW["stride"]), ROUNDED),
    ):
        tensors[needed].requires_grad_()
        (ours,) = torch.autograd.grad(function(*tensors).square().sum(), tensors[needed])
        (theirs,) = torch.autograd.grad(reference(*tensors).square().sum(), tensors[needed])
        assert (ours - theirs).abs().max() < 2 * tolerance * theirs.abs().max()


def test_torch_knows_their_shapes_and_gradients():
    """What torch.compile and torch.export rely on."""
    x, weight, bias, colours, few = draw((2, 16, 12, 11), (16, 16, 3, 3), (16,), (2, 3, 12, 11), (16, 3, 3, 3))
    for tensor in (x, weight, bias, colours, few):
        tensor.requires_grad_()
    torch.library.opcheck(ops.convolve_tiles, (x, weight, bias, (1, 1)))
    torch.library.opcheck(ops.convolve_tiles, (x, weight, None, (0, 0)))
    for pooled in (0, 2):
        torch.library.opcheck(ops.convolve_few, (colours, few, bias, (1, 1), (1, 1), pooled, True))
    torch.library.opcheck(ops.max_pool, (x, 2, True))


def test_the_longest_vectors_that_all_channels_fill_are_taken(monkeypatch):
    monkeypatch.setattr(library, "vector_lengths", lambda: (16, 8, 4))
    assert [ops.lanes_for(*channels) for channels in ((64, 32), (64, 24), (12, 64))] == [16, 8, 4]


@pytest.mark.parametrize(
    ("bottom", "weights", "dtype"),
    [
        ((1, 16, 9, 9), (16, 32, 3, 3), torch.float32),
        ((1, 15, 9, 9), (15, 15, 3, 3), torch.float32),
        ((1, 16, 9, 9), (16, 16, 3, 3), torch.float64),
    ],
)
def test_tensors_that_do_not_fit_are_refused(bottom, weights, dtype):
    with pytest.raises(AssertionError):
        ops.convolve_tiles(torch.zeros(bottom, dtype=dtype), torch.zeros(weights), None, (0, 0))
