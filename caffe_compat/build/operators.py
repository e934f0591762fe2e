"""Let a net train on compiled operators: convolutions, and the pooling and ReLU after them.

See :mod:`caffe_compat.kernels.fast.ops`. Modules choose at every pass: what the operators do not have, torch computes.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import fx, nn

from caffe_compat.kernels.fast.library import vector_lengths
from caffe_compat.kernels.fast.ops import convolve_few, convolve_tiles, max_pool
from caffe_compat.kernels.fast.program import by_tiles
from caffe_compat.kernels.fast.tiles import tile_count
from caffe_compat.layers.functions import Pair, Window

FEW = 4
"""Channels of a bottom whose convolution is computed line by line."""
FEWEST_TILES = 64
"""Tiles of a batch that make up for taking the weights to the points, there and back, in every pass."""

MOST_PLACES = 256
"""Of a pooling window: a byte remembers where the largest value was."""

Tensor = torch.Tensor


class CompiledConv2d(nn.Conv2d):
    """A Conv2d that runs on compiled operators while it trains, where they are faster.

    `lengths` are the floats in a vector of each instruction set that this processor has, found out with the first net.
    """

    lengths: ClassVar[tuple[int, ...]] = ()

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]  # public, without annotations
        CompiledConv2d.lengths = vector_lengths()

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (torch's name)
        """Convolve (N, C, H, W)."""
        return self.convolve(input, None, rectified=False)

    def convolve(self, x: Tensor, pool: nn.MaxPool2d | None, *, rectified: bool) -> Tensor:
        """Convolve, pool and rectify."""
        window = Window(*(_pair(v) for v in (self.kernel_size, self.stride, self.padding, self.dilation)))
        side = 0 if pool is None else _side(pool)
        if not self._takes(x, window):
            return _finish(super().forward(x), pool, rectified=rectified)
        if self._is_narrow(window):
            top: Tensor = convolve_few(x, self.weight, self.bias, window.stride, window.pad, side, rectified)[0]
            return top
        if not self._is_tiled(x, window):
            return _finish(super().forward(x), pool, rectified=rectified)
        top = convolve_tiles(x, self.weight, self.bias, window.pad)
        if pool is None:
            return _finish(top, pool, rectified=rectified)
        pooled: Tensor = max_pool(top, side, rectified)[0]
        return pooled

    def _takes(self, x: Tensor, window: Window) -> bool:
        if not self.training or torch.is_autocast_enabled("cpu") or x.dim() != 4 or not len(x):
            return False
        if x.shape[1] != self.in_channels or min(window.output((x.shape[2], x.shape[3]))) < 1:
            return False  # torch has the error
        return all(t.dtype == torch.float32 and t.device.type == "cpu" for t in (x, self.weight))

    def _is_narrow(self, window: Window) -> bool:
        one = self.groups == 1 and window.dilation == (1, 1)
        return one and self.in_channels <= FEW and any(self.out_channels % lanes == 0 for lanes in self.lengths)

    def _is_tiled(self, x: Tensor, window: Window) -> bool:
        size = window.output((x.shape[2], x.shape[3]))
        if not by_tiles(self.weight, window, self.groups, size):
            return False
        if all(self.in_channels % lanes or self.out_channels % lanes for lanes in self.lengths[:2]):
            return False  # shorter vectors cost more than the tiles gain
        return len(x) * tile_count(window.kernel[0], size) >= FEWEST_TILES


class ConvolvePool(nn.Module):
    """A convolution with the max pooling and the ReLU after it; the modules stay where they are in the net."""

    def __init__(self, conv: CompiledConv2d, pool: nn.MaxPool2d | None, *, rectified: bool) -> None:
        super().__init__()
        self._parts = conv, pool  # in a tuple, so that their parameters are not this module's, too
        self._rectified = rectified

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, pool and rectify (N, C, H, W)."""
        conv, pool = self._parts
        if any(part is not None and _has_hooks(part) for part in self._parts):
            return _finish(conv(x), pool, rectified=self._rectified)
        return conv.convolve(x, pool, rectified=self._rectified)


def _finish(x: Tensor, pool: nn.MaxPool2d | None, *, rectified: bool) -> Tensor:
    x = x if pool is None else pool(x)
    return torch.relu_(x) if rectified else x


def _has_hooks(module: nn.Module) -> bool:
    return any((module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks))


def _pair(value: object) -> Pair:
    assert isinstance(value, tuple), "modules of a net are built with a number per axis"
    return value[0], value[1]


def _side(pool: nn.MaxPool2d) -> int:
    """Return the side of a pooling's windows if they are squares side by side that cover every map, else 0."""
    high, wide = _pair(pool.kernel_size)
    square = high == wide and _pair(pool.stride) == (high, wide) and _pair(pool.padding) == (0, 0)
    return high if square and pool.ceil_mode and high * wide <= MOST_PLACES else 0


def train_on_operators(net: fx.GraphModule) -> None:
    """Let the convolutions of a net train on compiled operators; they and their parameters stay the same objects."""
    for module in net.modules():
        if type(module) is nn.Conv2d:
            module.__class__ = CompiledConv2d
            CompiledConv2d.lengths = vector_lengths()
    if not net.training:
        return
    for node in list(net.graph.nodes):
        if node.op == "call_module" and isinstance(net.get_submodule(node.target), CompiledConv2d):
            _fuse(net, node)
    net.graph.lint()
    net.recompile()


def _fuse(net: fx.GraphModule, node: fx.Node) -> None:
    """Make one call of a convolution and the pooling and the ReLU that alone read it."""
    conv = net.get_submodule(str(node.target))
    assert isinstance(conv, CompiledConv2d)
    calls = [node]
    reader = _sole(node)
    pool = net.get_submodule(str(reader.target)) if reader is not None and reader.op == "call_module" else None
    if reader is not None and isinstance(pool, nn.MaxPool2d) and _side(pool):
        calls.append(reader)
        reader = _sole(reader)
    else:
        pool = None
    rectified = reader is not None and reader.target is torch.relu_
    if reader is not None and rectified:
        calls.append(reader)
    if len(calls) == 1:
        return
    key = "_".join(str(call.target) if call.op == "call_module" else call.name for call in calls)
    while hasattr(net, key):
        key += "_"
    net.add_module(key, ConvolvePool(conv, pool, rectified=rectified))
    with net.graph.inserting_after(calls[-1]):
        done = net.graph.create_node("call_module", key, node.args, {}, calls[-1].name)
    calls[-1].replace_all_uses_with(done)
    for call in reversed(calls):
        net.graph.erase_node(call)


def _sole(node: fx.Node) -> fx.Node | None:
    """Return the only reader of a value, or None."""
    return next(iter(node.users)) if len(node.users) == 1 else None
