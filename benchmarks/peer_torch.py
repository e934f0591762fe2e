"""A net as torch's users write it, for the engines that are torch."""

from __future__ import annotations

import copy

from torch import fx, nn

from caffe_compat import CaffeNet
from caffe_compat.layers.batch_norm import BatchNormModule


def as_torch(net: CaffeNet) -> fx.GraphModule:
    """Return a copy of a net as torch's users write it: torch's modules, batch norms with torch's statistics."""
    plain = copy.deepcopy(fx.GraphModule(net, net.graph)).train(net.training)
    values = {**dict(plain.named_parameters()), **dict(plain.named_buffers())}
    for node in plain.graph.nodes:
        norm = plain.get_submodule(node.target) if node.op == "call_module" else None
        if isinstance(norm, BatchNormModule) and not net.training:
            module = nn.BatchNorm2d(len(norm.mean), norm.eps, affine=len(node.args) > 1).eval()
            module.running_mean, module.running_var = norm.mean / norm.factor, norm.variance / norm.factor
            for name, value in zip(("weight", "bias"), node.args[1:], strict=False):
                setattr(module, name, values[value.target])
            plain.set_submodule(node.target, module)
            node.args = node.args[:1]
    plain.graph.eliminate_dead_code()
    plain.recompile()
    return plain
