"""Rewrites that make a net faster without changing a value or a gradient.

1. BatchNorm followed only by a Scale over its channels: one torch batch_norm with weight and bias.
2. ReLU followed only by MAX pooling: pool first. max and ReLU commute, gradients included (both send them to the first
   maximum if it is positive and nowhere else), and the ReLU then has fewer values to touch.
3. A ReLU that is the only reader of what the layer above made: in place, where no backward pass needs the old value.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn

from caffe_compat.build.watch import is_altered
from caffe_compat.layers import every_layer
from caffe_compat.layers.batch_norm import BatchNormModule
from caffe_compat.layers.scale import ScaleModule

RECTIFIERS = (nn.ReLU, nn.LeakyReLU)


def optimise(net: fx.GraphModule) -> None:
    """Apply every rewrite to a net, in place."""
    for rewrite in (_fuse_scale, _pool_first, _in_place):
        for node in list(net.graph.nodes):
            if node.op == "call_module":
                rewrite(net, node)
    net.graph.lint()
    net.recompile()


def _module(net: fx.GraphModule, node: object) -> nn.Module | None:
    """Return the module that `node` calls, or None."""
    if isinstance(node, fx.Node) and node.op == "call_module":
        return net.get_submodule(str(node.target))
    return None


def only_reader(node: fx.Node) -> fx.Node | None:
    """Return the only reader of a value, or None."""
    return next(iter(node.users)) if len(node.users) == 1 else None


def _fuse_scale(net: fx.GraphModule, norm: fx.Node) -> None:
    scale = only_reader(norm)
    module = _module(net, scale)
    if scale is None or not isinstance(_module(net, norm), BatchNormModule) or not isinstance(module, ScaleModule):
        return
    if len(scale.args) != 1 or module._forward_pre_hooks or not module.per_channel() or module.weight is None:
        return
    with net.graph.inserting_before(scale):
        attributes = ["weight"] if module.bias is None else ["weight", "bias"]
        values = [net.graph.get_attr(f"{scale.target}.{name}") for name in attributes]
        fused = net.graph.create_node("call_module", norm.target, (norm.args[0], *values), {}, scale.name)
    scale.replace_all_uses_with(fused)
    net.graph.erase_node(scale)
    net.graph.erase_node(norm)


def _pool_first(net: fx.GraphModule, relu: fx.Node) -> None:
    pool = only_reader(relu)
    if pool is None or not isinstance(_module(net, relu), nn.ReLU):
        return
    if not isinstance(_module(net, pool), nn.MaxPool2d | nn.AdaptiveMaxPool2d):
        return
    pool.args = relu.args
    with net.graph.inserting_after(pool):
        last = net.graph.create_node("call_module", relu.target, (pool,), {}, relu.name)
    pool.replace_all_uses_with(last, delete_user_cb=lambda user: user is not last)
    net.graph.erase_node(relu)


def _in_place(net: fx.GraphModule, relu: fx.Node) -> None:
    module, source = _module(net, relu), next(iter(relu.args), None)
    if not isinstance(module, RECTIFIERS) or not isinstance(source, fx.Node) or only_reader(source) is None:
        return
    if not isinstance(_module(net, source), tuple(kind for layer in every_layer() for kind in layer.free_outputs)):
        return
    slope = module.negative_slope if isinstance(module, nn.LeakyReLU) else 0.0
    if slope < 0:
        return  # torch cannot take the gradient of that one in place
    with net.graph.inserting_before(relu):
        args = source, net.graph.get_attr(str(relu.target))
        done = net.graph.create_node("call_function", rectify_, args, {}, relu.name)
    relu.replace_all_uses_with(done)
    net.graph.erase_node(relu)


def rectify_(x: Any, relu: nn.Module) -> Any:
    """Rectify in place, unless the module would do something else or torch forbids it: then the module is called."""
    if torch.compiler.is_compiling() or isinstance(x, fx.Proxy) or type(relu) not in RECTIFIERS or is_altered(relu):
        return relu(x)
    if x._is_view() and x.requires_grad:  # a backward hook has made it
        return relu(x)
    slope = relu.negative_slope if isinstance(relu, nn.LeakyReLU) else 0.0
    return nn.functional.leaky_relu_(x, slope) if slope else torch.relu_(x)
