"""The ordered products as torch operators, for autograd, ``torch.compile`` and ``torch.export``.

They take float32 tensors on the CPU. A pass back that is recorded (``create_graph``) or transformed itself is made of
torch's operators, which can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from caffe_compat.kernels import convolution as conv
from caffe_compat.kernels import linear
from caffe_compat.runtime.tensors import is_batched, is_transformed

Tensor = torch.Tensor
Gradients = tuple[Tensor | None, ...]


@torch.library.custom_op("caffe_compat::convolution", mutates_args=())
def convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], dilation: Sequence[int], groups: int
) -> Tensor:
    """Convolve a padded bottom (N, C, H, W): products in Caffe's order, then the bias."""
    top = conv.forward(x, weight, _pair(stride), _pair(dilation), groups)
    return top if bias is None else top.add_(bias[:, None, None])


@convolution.register_fake
def _(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], dilation: Sequence[int], groups: int
) -> Tensor:
    top = torch.nn.functional.conv2d(x, weight, bias, tuple(stride), 0, tuple(dilation), groups)
    return torch.empty_like(top, memory_format=torch.contiguous_format)


@torch.library.custom_op("caffe_compat::convolution_backward", mutates_args=())
def _convolution_backward(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: Sequence[int], dilation: Sequence[int], groups: int, part: str
) -> Tensor:
    if part == "bias":
        return conv.bias_gradient(gradient)
    function = conv.bottom_gradient if part == "bottom" else conv.weight_gradient
    return function(x, weight, gradient, _pair(stride), _pair(dilation), groups)


@_convolution_backward.register_fake
def _(gradient: Tensor, x: Tensor, weight: Tensor, *window: object) -> Tensor:
    *_, part = window
    if part == "bias":
        return gradient.new_empty(weight.shape[0])
    return torch.empty_like(x if part == "bottom" else weight, memory_format=torch.contiguous_format)


def _save_convolution(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001  (torch's signature)
    x, weight, _, *ctx.window = inputs
    ctx.save_for_backward(x, weight)


def _differentiate_convolution(ctx: Any, gradient: Tensor) -> Gradients:
    x, weight = ctx.saved_tensors
    needed = ctx.needs_input_grad[:3]
    if is_followed(gradient):
        stride, dilation, groups = ctx.window
        return *torchs_gradients(gradient, x, weight, stride, (0, 0), dilation, groups, needed), None, None, None
    results = (
        _convolution_backward(gradient, x, weight, *ctx.window, part) if one else None
        for part, one in zip(("bottom", "weight", "bias"), needed, strict=True)
    )
    return (*results, None, None, None)


def is_followed(gradient: Tensor) -> bool:
    """Tell whether torch is to differentiate a pass back again, or transforms it."""
    return torch.is_grad_enabled() or is_transformed() or is_batched(gradient)


def torchs_gradients(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    pad: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    needed: Sequence[bool],
) -> Gradients:
    """Return a convolution's gradients to bottom, weights and bias by torch's operator; None for those not needed."""
    transposed = False
    results = torch.ops.aten.convolution_backward(
        gradient, x, weight, [len(weight)], stride, pad, dilation, transposed, [0, 0], groups, needed
    )
    return tuple(result if one else None for result, one in zip(results, needed, strict=True))


convolution.register_autograd(_differentiate_convolution, setup_context=_save_convolution)


@torch.library.custom_op("caffe_compat::inner_product", mutates_args=())
def inner_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return x weight' + bias for a matrix (N, K) and weights (M, K)."""
    top = linear.product(x, weight.t(), linear.Kind.BY_TRANSPOSED)
    return top if bias is None else top.add_(bias)


@inner_product.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: ARG001
    return x.new_empty(x.shape[0], weight.shape[0])


@torch.library.custom_op("caffe_compat::ordered_product", mutates_args=())
def _product(left: Tensor, right: Tensor, kind: str) -> Tensor:
    return linear.product(left, right, linear.Kind[kind])


@_product.register_fake
def _(left: Tensor, right: Tensor, kind: str) -> Tensor:  # noqa: ARG001
    return left.new_empty(left.shape[0], right.shape[1])


def _save_inner_product(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    x, weight, _ = inputs
    ctx.save_for_backward(x, weight)


def _differentiate_inner_product(ctx: Any, gradient: Tensor) -> Gradients:
    x, weight = ctx.saved_tensors
    bottom, weights, biases = ctx.needs_input_grad
    if is_followed(gradient):
        return (
            gradient @ weight if bottom else None,
            gradient.t() @ x if weights else None,
            gradient.sum(0) if biases else None,
        )
    return (
        _product(gradient, weight, "PLAIN") if bottom else None,
        _product(gradient.t(), x, "TRANSPOSED") if weights else None,
        _product(gradient.new_ones(1, len(gradient)), gradient, "TRANSPOSED")[0] if biases else None,
    )


inner_product.register_autograd(_differentiate_inner_product, setup_context=_save_inner_product)


def _pair(values: Sequence[int]) -> tuple[int, int]:
    down, right = values
    return down, right
