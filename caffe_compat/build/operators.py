"""Run a net's modules: convolutions in the layout that suits torch, and in training on compiled operators.

An operator of :mod:`caffe_compat.kernels.fast.ops` convolves, pools and rectifies. The net keeps its modules and its
graph; a plan made of that graph calls them, or an operator in their place where that gives what they would give.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn

from caffe_compat.build.optimise import only_reader, rectify_
from caffe_compat.build.watch import is_altered
from caffe_compat.kernels.fast.library import vector_lengths
from caffe_compat.kernels.fast.ops import convolve_few, convolve_tiles, max_pool
from caffe_compat.kernels.fast.program import by_tiles
from caffe_compat.kernels.fast.tiles import tile_count
from caffe_compat.layers.functions import Pair, Window, pair
from caffe_compat.runtime.tensors import is_plain, is_transformed

FEW = 4
"""Channels of a bottom whose convolution is computed line by line."""
FEWEST_TILES = 64
"""Tiles of a batch that make up for taking the weights to the points, there and back, in every pass."""
MANY_WEIGHTS = 4
"""Weights for each value of a bottom that cost torch more to lay out anew than the bottom does."""

MOST_PLACES = 256
"""Of a pooling window: a byte remembers where the largest value was."""

Tensor = torch.Tensor


def convolve(x: Tensor, conv: nn.Module, pool: nn.Module | None = None, relu: nn.Module | None = None) -> Tensor:
    """Convolve (N, C, H, W), pool and rectify, as the modules would."""
    if not isinstance(conv, nn.Conv2d) or not _takes(conv, x) or not _can_follow(pool, relu):
        return _finish(convolve_laid_out(x, conv), pool, relu)
    window = Window(*(pair(v) for v in (conv.kernel_size, conv.stride, conv.padding, conv.dilation)))
    size = window.output((x.shape[2], x.shape[3]))
    if min(size) < 1:
        return _finish(convolve_laid_out(x, conv), pool, relu)  # torch has the error
    side = 0 if pool is None else _side(pool)
    if _is_narrow(conv, window):
        arguments = x, conv.weight, conv.bias, window.stride, window.pad, side
        top: Tensor = convolve_few(*arguments, relu is not None)[0]
        return top
    if not _is_tiled(conv, window, len(x), size):
        return _finish(convolve_laid_out(x, conv), pool, relu)
    top = convolve_tiles(x, conv.weight, conv.bias, window.pad)
    if pool is None:
        return _finish(top, pool, relu)
    pooled: Tensor = max_pool(top, side, relu is not None)[0]
    return pooled


def _takes(conv: nn.Conv2d, x: Tensor) -> bool:
    """Tell whether an operator can replace a convolution: module, weights and bottom have no special features."""
    if type(conv) is not nn.Conv2d or not conv.training or is_altered(conv) or conv.padding_mode != "zeros":
        return False
    if x.dim() != 4 or not len(x) or x.shape[1] != conv.in_channels:
        return False
    shape = (conv.out_channels, conv.in_channels // conv.groups, *conv.kernel_size)
    if is_transformed() or not is_plain(x) or not is_plain(conv.weight) or tuple(conv.weight.shape) != shape:
        return False
    return conv.bias is None or (is_plain(conv.bias) and tuple(conv.bias.shape) == shape[:1])


def _can_follow(pool: nn.Module | None, relu: nn.Module | None) -> bool:
    """Tell whether operators can also replace the modules after a convolution."""
    if pool is not None and (not _side(pool) or is_altered(pool)):
        return False
    return relu is None or (type(relu) is nn.ReLU and not is_altered(relu))


def _is_narrow(conv: nn.Conv2d, window: Window) -> bool:
    one = conv.groups == 1 and window.dilation == (1, 1)
    return one and conv.in_channels <= FEW and any(conv.out_channels % lanes == 0 for lanes in vector_lengths())


def _is_tiled(conv: nn.Conv2d, window: Window, images: int, size: Pair) -> bool:
    if not by_tiles(conv.weight, window, conv.groups, size):
        return False
    if all(conv.in_channels % lanes or conv.out_channels % lanes for lanes in vector_lengths()[:2]):
        return False  # shorter vectors cost more than the tiles gain
    return images * tile_count(window.kernel[0], size) >= FEWEST_TILES


def _finish(x: Tensor, pool: nn.Module | None, relu: nn.Module | None) -> Tensor:
    x = x if pool is None else pool(x)
    return x if relu is None else rectify_(x, relu)


def _side(pool: nn.Module | None) -> int:
    """Return the side of a max pooling's windows if they are squares side by side that cover every map, else 0."""
    if type(pool) is not nn.MaxPool2d:
        return 0
    sizes = pool.kernel_size, pool.stride, pool.padding, pool.dilation
    (high, wide), stride, pad, dilation = (value if isinstance(value, tuple) else (value, value) for value in sizes)
    square = high == wide and stride == (high, wide) and pad == (0, 0) and dilation == (1, 1)
    return high if square and pool.ceil_mode and not pool.return_indices and high * wide <= MOST_PLACES else 0


def innermost(x: Any) -> Any:
    """Return a blob with its channels innermost, the layout in which torch's kernels are fastest on the CPU.

    With one channel both layouts are one and torch takes the default; the strides tell them apart.
    """
    if type(x) is not torch.Tensor or x.dim() != 4 or not x.is_floating_point():
        return x
    x = x.contiguous(memory_format=torch.channels_last)
    _, c, h, w = x.shape
    return x.as_strided(x.shape, (h * w * c, 1, w * c, c), x.storage_offset()) if c == 1 else x


def convolve_laid_out(x: Any, conv: Any) -> Any:
    """Convolve with channels innermost, unless torch would take longer to lay out the weights like that."""
    plain = type(x) is torch.Tensor and type(conv) is nn.Conv2d and conv.kernel_size != (1, 1)
    if plain and conv.weight.numel() > MANY_WEIGHTS * x.numel():
        return innermost(conv(x.contiguous()))
    return conv(innermost(x))


def plan_of(net: fx.GraphModule, *, compiled: bool) -> fx.GraphModule:
    """Return what runs a net's modules, those that it has at each pass, each convolution in the layout that suits it.

    Where operators may be `compiled`, a convolution is one call with the pooling and the ReLU that alone read it.
    """
    graph = fx.Graph()
    graph.output(graph.graph_copy(net.graph, {}))
    convolutions = [
        node
        for node in graph.nodes
        if node.op == "call_module" and type(net._modules.get(str(node.target))) is nn.Conv2d
    ]
    for node in convolutions:
        if compiled and vector_lengths():
            _fuse(net, graph, node)
            continue
        with graph.inserting_before(node):
            args = node.args[0], graph.get_attr(str(node.target))
            node.replace_all_uses_with(graph.create_node("call_function", convolve_laid_out, args, {}, node.name))
        graph.erase_node(node)
    plan = fx.GraphModule(net, graph, class_name="Plan")
    plan._modules = net._modules  # the dict itself: a module put into the net is called from then on
    return plan


def _fuse(net: fx.GraphModule, graph: fx.Graph, node: fx.Node) -> None:
    """Make one call of a convolution and of the pooling and the ReLU that alone read it."""
    calls, keys = [node], [str(node.target), "", ""]
    reader = only_reader(node)
    if reader is not None and reader.op == "call_module" and _side(net._modules.get(str(reader.target))):
        calls.append(reader)
        keys[1] = str(reader.target)
        reader = only_reader(reader)
    if reader is not None and reader.target is rectify_:
        _, relu = reader.args
        assert isinstance(relu, fx.Node)
        if type(net._modules.get(str(relu.target))) is nn.ReLU:
            calls = [relu, *calls, reader]
            keys[2] = str(relu.target)
    with graph.inserting_after(calls[-1]):
        done = graph.create_node("call_function", convolve, (), {}, calls[-1].name)
    with graph.inserting_before(done):
        done.args = (node.args[0], *(graph.get_attr(key) if key else None for key in keys))
    calls[-1].replace_all_uses_with(done)
    for call in reversed(calls):
        graph.erase_node(call)
