"""Gradients of gradients: every operator's pass back can be differentiated again, and run for many gradients at once."""

import pytest
import torch
import torch.nn.functional as F

from caffe_compat.kernels import ops as ordered
from caffe_compat.kernels.fast import library, ops

ROUNDED = 1e-5
"""float32 against float64, of the largest value."""

needs_code = pytest.mark.skipif(not library.vector_lengths(), reason="installed without a compiler")


def _pooled(side, relu):
    def function(x):
        y = F.max_pool2d(x, side, ceil_mode=True) if side else x
        return F.relu(y) if relu else y

    return function


def _few(stride, pad, side, relu):
    return (
        lambda x, w, b: ops.convolve_few(x, w, b, stride, pad, side, relu)[0],
        lambda x, w, b: _pooled(side, relu)(F.conv2d(x, w, b, stride, pad)),
        [(2, 3, 11, 12), (16, 3, 3, 3), (16,)],
    )


CASES = {
    "convolve_tiles": pytest.param(
        lambda x, w, b: ops.convolve_tiles(x, w, b, (1, 0)),
        lambda x, w, b: F.conv2d(x, w, b, 1, (1, 0)),
        [(2, 16, 8, 9), (16, 16, 3, 3), (16,)],
        marks=needs_code,
    ),
    "convolve_few": pytest.param(*_few((2, 1), (1, 0), 0, False), marks=needs_code),
    "convolve_few, rectified": pytest.param(*_few((1, 1), (0, 0), 0, True), marks=needs_code),
    "convolve_few, pooled": pytest.param(*_few((1, 1), (1, 1), 2, True), marks=needs_code),
    "max_pool": pytest.param(
        lambda x: ops.max_pool(x, 3, False)[0], _pooled(3, False), [(2, 16, 8, 9)], marks=needs_code
    ),
    "max_pool, rectified": pytest.param(
        lambda x: ops.max_pool(x, 2, True)[0], _pooled(2, True), [(2, 16, 7, 9)], marks=needs_code
    ),
    "convolution in Caffe's order": pytest.param(
        lambda x, w, b: ordered.convolution(x, w, b, (2, 1), (1, 2), 2),
        lambda x, w, b: F.conv2d(x, w, b, (2, 1), 0, (1, 2), 2),
        [(2, 4, 8, 9), (6, 2, 3, 3), (6,)],
    ),
    "inner product in Caffe's order": pytest.param(ordered.inner_product, F.linear, [(3, 7), (5, 7), (5,)]),
}
every = pytest.mark.parametrize(("function", "reference", "shapes"), CASES.values(), ids=CASES)


def draw(shapes):
    """Return values some way apart from each other, so that no step of a check changes which is the largest."""
    generator = torch.Generator().manual_seed(0)
    sizes = [torch.Size(shape).numel() for shape in shapes]
    orders = [torch.randperm(size, generator=generator).view(shape) for size, shape in zip(sizes, shapes, strict=True)]
    return [(order / max(order.numel() - 1, 1) - 0.45).requires_grad_() for order in orders]


def second_gradients(function, tensors):
    """Return gradients of the first gradients' squares."""
    first = torch.autograd.grad(function(*tensors).square().sum(), tensors, create_graph=True)
    return torch.autograd.grad(sum(gradient.square().sum() for gradient in first), tensors)


@every
def test_gradients_of_gradients_are_float64s(function, reference, shapes):
    tensors = draw(shapes)
    exact = [tensor.detach().double().requires_grad_() for tensor in tensors]
    for ours, theirs in zip(second_gradients(function, tensors), second_gradients(reference, exact), strict=True):
        assert (ours - theirs).abs().max() < ROUNDED * theirs.abs().max()


@pytest.mark.filterwarnings("ignore:Input #:UserWarning")  # float32: the functions are linear in each argument
@every
def test_torchs_gradgradcheck_passes(function, reference, shapes):
    tensors = draw(shapes)
    if any(len(shape) == 4 for shape in shapes):  # one image, for time's sake
        tensors[0] = tensors[0][:1, :, :5, :6].detach().requires_grad_()
    assert torch.autograd.gradgradcheck(function, tensors, eps=1e-3, atol=2e-2, rtol=1e-2, fast_mode=True)


@every
def test_many_gradients_at_once(function, reference, shapes):
    tensors = draw(shapes)
    y, y64 = function(*tensors), reference(*tensors)
    rows = torch.randn(2, *y.shape, generator=torch.Generator().manual_seed(1))
    ours = torch.autograd.grad(y, tensors, rows, is_grads_batched=True)
    theirs = torch.autograd.grad(y64, tensors, rows, is_grads_batched=True)
    for a, b in zip(ours, theirs, strict=True):
        assert (a - b).abs().max() < ROUNDED * b.abs().max()
