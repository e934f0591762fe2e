"""Convolutions and pooling as torch operators, for training: forward, and the gradients to bottom, weights and bias.

Float32 on the CPU. Maps have the channels innermost (``torch.channels_last``), so that nothing is copied between
one operator and the next; others are copied once. Channels fill whole vectors (:func:`lanes_for`), those of the bottom
of :func:`convolve_few` excepted. Results are the same bits with any number of threads. A pass back that is recorded
(``create_graph``) or transformed itself is made of torch's operators, which can be differentiated again.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from caffe_compat.kernels.fast import library, tiles
from caffe_compat.kernels.fast.library import Op
from caffe_compat.kernels.fast.program import BLOCK, SHARE, panels, tile_floats
from caffe_compat.kernels.ops import is_followed, torchs_gradients
from caffe_compat.layers.functions import Window

Tensor = torch.Tensor
Gradients = tuple[Tensor | None, ...]

MOST_TILES = 256
"""Tiles of a sum, as in gradient.inc."""

_own = threading.local()  # memory of each of Python's threads


def lanes_for(*channels: int) -> int:
    """Return the floats of the longest vectors that all these channels fill."""
    lanes = next((lanes for lanes in library.vector_lengths() if not any(c % lanes for c in channels)), 0)
    assert lanes, f"{channels} channels fill no vectors of this processor"
    return lanes


# Convolution by tiles -------------------------------------------------------------------------------------------------


@torch.library.custom_op("caffe_compat::convolve_tiles", mutates_args=())
def convolve_tiles(x: Tensor, weight: Tensor, bias: Tensor | None, pad: Sequence[int]) -> Tensor:
    """Convolve (N, C, H, W) by weights (K, C, r, r) with stride 1; r is 3, 5 or 7."""
    lanes, taps = lanes_for(*weight.shape[:2]), weight.shape[-1]
    y = _empty(*_top_shape(x, weight, (1, 1), pad))
    factors = _factors(weight, lanes)
    step = _step(Op.CONVOLVE_TILES, kernel=(taps, taps), pad=pad, weights=factors, bias=bias)
    _run(lanes, step, [_innermost(x), y], [], _tile_floats(weight))
    return y


@convolve_tiles.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None, pad: Sequence[int]) -> Tensor:  # noqa: ARG001
    return _empty(*_top_shape(x, weight, (1, 1), pad), device=x.device)


@torch.library.custom_op("caffe_compat::convolve_tiles_backward", mutates_args=())
def _tiles_backward(gradient: Tensor, x: Tensor, weight: Tensor, pad: Sequence[int], bottom: bool) -> list[Tensor]:  # noqa: FBT001
    """Return the gradient to the weights and, if needed, that to the bottom."""
    outputs, inputs, taps, _ = weight.shape
    lanes = lanes_for(outputs, inputs)
    at_points = torch.empty(tiles.SIDES[taps] ** 2, inputs, outputs, dtype=torch.float32)
    maps = [_innermost(x), _innermost(gradient), *([_empty(*x.shape)] if bottom else [])]
    factors = _factors(weight, lanes, back=True) if bottom else None
    step = _step(Op.GRADIENT_TILES, kernel=(taps, taps), pad=pad, weights=factors, tensor=len(maps))
    step.residual = 2 if bottom else -1
    _run(lanes, step, maps, [at_points], _tile_floats(weight, 2 * SHARE))
    to_weights = _product(_matrix(taps), at_points.flatten(1), lanes)
    return [to_weights.view(taps, taps, inputs, outputs).permute(3, 2, 0, 1).contiguous(), *maps[2:]]


@_tiles_backward.register_fake
def _(gradient: Tensor, x: Tensor, weight: Tensor, pad: Sequence[int], bottom: bool) -> list[Tensor]:  # noqa: ARG001, FBT001
    return [weight.new_empty(weight.shape), *([_empty(*x.shape, device=x.device)] if bottom else [])]


def _save_tiles(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001  (torch's signature)
    x, weight, _, ctx.pad = inputs
    ctx.save_for_backward(x, weight)


def _differentiate_tiles(ctx: Any, gradient: Tensor) -> Gradients:
    bottom, weights, bias, _ = ctx.needs_input_grad
    x, weight = ctx.saved_tensors
    if is_followed(gradient):
        return *_torchs_gradients(gradient, x, weight, (1, 1), ctx.pad, (bottom, weights, bias)), None
    results = _tiles_backward(gradient, x, weight, ctx.pad, bottom) if bottom or weights else [None]
    return (results[1] if bottom else None, results[0], gradient.sum((0, 2, 3)) if bias else None, None)


convolve_tiles.register_autograd(_differentiate_tiles, setup_context=_save_tiles)


def _torchs_gradients(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: Sequence[int], pad: Sequence[int], needed: Sequence[bool]
) -> Gradients:
    return torchs_gradients(gradient, x, weight, stride, pad, (1, 1), 1, needed)


def _tile_floats(weight: Tensor, share: float = SHARE) -> int:
    outputs, inputs, taps, _ = weight.shape
    apart = torch.get_num_threads() * MOST_TILES * (inputs + outputs)
    return tile_floats(tiles.SIDES[taps], inputs, outputs, share) + apart


@functools.cache
def _matrix(taps: int, *, conjugate: bool = False) -> Tensor:
    return tiles.weight_matrix(taps, conjugate=conjugate).float()


def _factors(weight: Tensor, lanes: int, *, back: bool = False) -> Tensor:
    """Return the weights at the points in panels of two vectors' columns: (points, panels, C, 2 lanes), or K for C."""
    kernels = weight.detach().flatten(2)
    kernels = kernels if back else kernels.transpose(0, 1)  # (rows, columns, taps)
    matrix = _matrix(weight.shape[-1], conjugate=back).t()
    return _product(matrix, panels(kernels.permute(2, 0, 1), lanes).flatten(1), lanes)


def _product(a: Tensor, b: Tensor, lanes: int) -> Tensor:
    """Return a' b in our own order of summation: that of a BLAS depends on the threads on some processors."""
    result = torch.empty(a.shape[1], b.shape[1], dtype=torch.float32)
    step = _step(Op.MULTIPLY, tensor=2)
    maps = [matrix.contiguous().t()[None, :, None] for matrix in (a, b)]  # a row is a pixel
    _run(lanes, step, maps, [result], 0)
    return result


# Convolution of few channels, with pooling ----------------------------------------------------------------------------


@torch.library.custom_op("caffe_compat::convolve_few", mutates_args=())
def convolve_few(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    pad: Sequence[int],
    pooled: int,
    relu: bool,  # noqa: FBT001
) -> tuple[Tensor, Tensor]:
    """Convolve (N, C, H, W), take the largest values of pooled x pooled windows side by side, and rectify them.

    Every window counts that begins inside the map. `pooled` of 0 leaves the pooling out. The second result is where in
    its window each value was (uint8).
    """
    lanes, outputs = lanes_for(len(weight)), len(weight)
    y, places = _few_tops(x, weight, stride, pad, pooled)
    weights = panels(weight.detach().permute(2, 3, 1, 0).reshape(-1, outputs), lanes).contiguous()
    step = _step(Op.CONVOLVE, kernel=weight.shape[2:], stride=stride, weights=weights, bias=bias)
    step.dense, step.relu = True, relu
    wide = _top_shape(x, weight, stride, pad)[-1]
    if pooled:
        step.pooled[:], step.tensor = (pooled, pooled), 2
    _run(
        lanes,
        step,
        [_innermost(_padded(x, pad)), y],
        [places] if pooled else [],
        torch.get_num_threads() * max(pooled, 1) * wide * outputs,
    )
    return y, places


def _few_tops(
    x: Tensor, weight: Tensor, stride: Sequence[int], pad: Sequence[int], pooled: int
) -> tuple[Tensor, Tensor]:
    shape = _pooled_shape(_top_shape(x, weight, stride, pad), max(pooled, 1))
    places = _empty(*(shape if pooled else (0, 1, 1, 1)), dtype=torch.uint8, device=x.device)
    return _empty(*shape, device=x.device), places


@convolve_few.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,  # noqa: ARG001
    stride: Sequence[int],
    pad: Sequence[int],
    pooled: int,
    relu: bool,  # noqa: ARG001, FBT001
) -> tuple[Tensor, Tensor]:
    return _few_tops(x, weight, stride, pad, pooled)


@torch.library.custom_op("caffe_compat::convolve_few_backward", mutates_args=())
def _few_backward(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    y: Tensor,
    places: Tensor,
    stride: Sequence[int],
    pad: Sequence[int],
    pooled: int,
    relu: bool,  # noqa: FBT001
) -> list[Tensor]:
    """Return the gradients to the weights and to the bias."""
    outputs, inputs, *kernel = weight.shape
    lanes, rows = lanes_for(outputs), inputs * kernel[0] * kernel[1] + 1
    sums = torch.empty(len(x) + 1, rows, outputs, dtype=torch.float32)
    step = _step(Op.GRADIENT_FEW, kernel=kernel, stride=stride, tensor=3)
    step.pooled[:] = pooled, pooled
    step.residual = 2 if relu else -1
    wide = _top_shape(x, weight, stride, pad)[-1]
    floats = torch.get_num_threads() * wide * (rows + max(pooled, 1) * outputs)
    _run(
        lanes,
        step,
        [_innermost(_padded(x, pad)), _innermost(gradient), y],
        [sums, places] if pooled else [sums],
        floats,
    )
    to_weights = sums[-1, :-1].view(*kernel, inputs, outputs).permute(3, 2, 0, 1)
    return [to_weights.contiguous(), sums[-1, -1].clone()]


@_few_backward.register_fake
def _(gradient: Tensor, x: Tensor, weight: Tensor, *others: object) -> list[Tensor]:  # noqa: ARG001
    return [weight.new_empty(weight.shape), weight.new_empty(len(weight))]


def _save_few(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, weight, _, ctx.stride, ctx.pad, ctx.pooled, ctx.relu = inputs
    y, places = output
    ctx.mark_non_differentiable(places)
    ctx.save_for_backward(x, weight, y if ctx.relu else None, places)  # a y that is not read may be overwritten


def _differentiate_few(ctx: Any, gradient: Tensor, _: object) -> Gradients:
    bottom, weights, bias, *_ = ctx.needs_input_grad
    x, weight, y, places = ctx.saved_tensors
    y = gradient if y is None else y
    size = _top_shape(x, weight, ctx.stride, ctx.pad)[2:]
    if is_followed(gradient):
        sums = _scattered(gradient, y, places, size, ctx.pooled, ctx.relu)
        return *_torchs_gradients(sums, x, weight, ctx.stride, ctx.pad, (bottom, weights, bias)), *[None] * 4
    results: list[Tensor | None] = [None, None]
    if weights or bias:
        results = _few_backward(gradient, x, weight, y, places, ctx.stride, ctx.pad, ctx.pooled, ctx.relu)
    to_bottom = None
    if bottom:
        sums = _unpool(gradient, y, places, size, ctx.pooled, ctx.relu) if ctx.pooled else gradient
        if ctx.relu and not ctx.pooled:
            sums = torch.where(y > 0, gradient, 0)
        to_bottom = _torchs_gradients(sums, x, weight, ctx.stride, ctx.pad, (True, False, False))[0]
    return (to_bottom, results[0], results[1] if bias else None, *[None] * 4)


convolve_few.register_autograd(_differentiate_few, setup_context=_save_few)


# Pooling --------------------------------------------------------------------------------------------------------------


@torch.library.custom_op("caffe_compat::max_pool", mutates_args=())
def max_pool(x: Tensor, side: int, relu: bool) -> tuple[Tensor, Tensor]:  # noqa: FBT001
    """Take the largest values of side x side windows side by side, and rectify them; also where each of them was.

    Every window counts that begins inside the map.
    """
    y, places = _pool_tops(x, side)
    step = _step(Op.POOL_PLACES, tensor=2)
    step.pooled[:], step.relu = (side, side), relu
    _run(lanes_for(x.shape[1]), step, [_innermost(x), y], [places], 0)
    return y, places


def _pool_tops(x: Tensor, side: int) -> tuple[Tensor, Tensor]:
    shape = _pooled_shape(x.shape, side)
    return _empty(*shape, device=x.device), _empty(*shape, dtype=torch.uint8, device=x.device)


@max_pool.register_fake
def _(x: Tensor, side: int, relu: bool) -> tuple[Tensor, Tensor]:  # noqa: ARG001, FBT001
    return _pool_tops(x, side)


@torch.library.custom_op("caffe_compat::max_pool_backward", mutates_args=())
def _unpool(gradient: Tensor, y: Tensor, places: Tensor, size: Sequence[int], side: int, relu: bool) -> Tensor:  # noqa: FBT001
    """Return the gradient to the map, of `size` (height, width)."""
    result = _empty(*gradient.shape[:2], *size)
    step = _step(Op.UNPOOL, tensor=3)
    step.pooled[:] = side, side
    step.residual = 2 if relu else -1
    _run(lanes_for(gradient.shape[1]), step, [_innermost(gradient), result, y], [places], 0)
    return result


@_unpool.register_fake
def _(gradient: Tensor, y: Tensor, places: Tensor, size: Sequence[int], side: int, relu: bool) -> Tensor:  # noqa: ARG001, FBT001
    return _empty(*gradient.shape[:2], *size, device=gradient.device)


def _save_pool(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, ctx.side, ctx.relu = inputs
    ctx.size = x.shape[2:]
    y, places = output
    ctx.mark_non_differentiable(places)
    ctx.save_for_backward(y if ctx.relu else None, places)


def _differentiate_pool(ctx: Any, gradient: Tensor, _: object) -> Gradients:
    y, places = ctx.saved_tensors
    y = gradient if y is None else y
    backward = _scattered if is_followed(gradient) else _unpool
    return backward(gradient, y, places, ctx.size, ctx.side, ctx.relu), None, None


def _scattered(gradient: Tensor, y: Tensor, places: Tensor, size: Sequence[int], side: int, relu: bool) -> Tensor:  # noqa: FBT001
    """Return what :func:`_unpool` returns, by torch's operators; without pooling where `side` is 0."""
    gradient = torch.where(y > 0, gradient, 0) if relu else gradient
    if not side:
        return gradient
    *maps, height, width = gradient.shape
    place, wide = places.long(), width * side
    rows = torch.arange(height, device=y.device)[:, None] * side + place // side
    columns = torch.arange(width, device=y.device) * side + place % side
    at = (rows * wide + columns).view(*maps, -1)
    flat = gradient.new_zeros(*maps, height * side * wide).scatter(-1, at, gradient.reshape(at.shape))
    return flat.view(*maps, height * side, wide).narrow(2, 0, size[0]).narrow(3, 0, size[1])


max_pool.register_autograd(_differentiate_pool, setup_context=_save_pool)


# Steps ----------------------------------------------------------------------------------------------------------------


def _empty(*shape: int, dtype: torch.dtype = torch.float32, device: torch.device | None = None) -> Tensor:
    return torch.empty(shape, dtype=dtype, device=device, memory_format=torch.channels_last)


def _innermost(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _padded(x: Tensor, pad: Sequence[int]) -> Tensor:
    return F.pad(x, (pad[1], pad[1], pad[0], pad[0])) if any(pad) else x


def _top_shape(x: Tensor, weight: Tensor, stride: Sequence[int], pad: Sequence[int]) -> tuple[int, ...]:
    assert x.shape[1] == weight.shape[1], f"the bottom has {x.shape[1]} channels, the weights {weight.shape[1]}"
    kernel, stride, pad, size = ((down, right) for down, right in (weight.shape[2:], stride, pad, x.shape[2:]))
    return len(x), len(weight), *Window(kernel, stride, pad).output(size)


def _pooled_shape(shape: Sequence[int], side: int) -> tuple[int, ...]:
    images, channels, height, width = shape
    return images, channels, -(-height // side), -(-width // side)


def _step(
    op: Op,
    *,
    kernel: Sequence[int] = (1, 1),
    stride: Sequence[int] = (1, 1),
    pad: Sequence[int] = (0, 0),
    weights: Tensor | None = None,
    bias: Tensor | None = None,
    tensor: int = -1,
) -> library.CStep:
    """Return a step from the first map to the second; the caller keeps the tensors."""
    step = library.CStep(op=op, source=0, target=1, residual=-1, tensor=tensor)
    step.kernel[:], step.stride[:], step.pad[:], step.dilation[:] = tuple(kernel), tuple(stride), tuple(pad), (1, 1)
    step.side = tiles.SIDES.get(kernel[0], 0)
    step.weights, step.bias = (None if values is None else values.data_ptr() for values in (weights, bias))
    return step


def _run(lanes: int, step: library.CStep, maps: Sequence[Tensor], tensors: Sequence[Tensor], scratch: int) -> None:
    """Run a step on maps (N, C, H, W), channels innermost, and on the other tensors that it is about."""
    assert all(x.dtype == torch.float32 and x.device.type == "cpu" for x in maps), "float32 on the CPU only"
    buffers = (library.CBuffer * len(maps))(*(_buffer(x, index) for index, x in enumerate(maps)))
    program = library.CProgram(0, scratch, 1, 1, ctypes.addressof(buffers), ctypes.addressof(step))
    memory: Tensor | None = getattr(_own, "memory", None)
    if memory is None or memory.numel() < scratch:
        _own.memory = memory = library.workspace(max(scratch, BLOCK))
    library.run(lanes, program, [*maps, *tensors], len(maps[0]), len(maps[0]), memory, torch.get_num_threads())


def _buffer(x: Tensor, index: int) -> library.CBuffer:
    _, channels, height, width = x.shape
    return library.CBuffer(0, x[0].numel(), height, width, channels, 0, 0, channels, 0, index)
