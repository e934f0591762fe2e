"""What Caffe ends with when a net is made or goes backward."""

from __future__ import annotations

from collections.abc import Iterator

from caffe_compat.errors import NetError
from caffe_compat.graph.backward import Need
from caffe_compat.graph.graph import Node
from caffe_compat.layers import Gradient


def uneven_weights(node: Node) -> Iterator[NetError]:
    """Yield an error where loss weights are given for some tops only; a loss with two tops has one by itself."""
    given, tops = list(node.message.loss_weight), len(node.tops)
    if given and len(given) != tops:
        yield node.spec.error("one per top, or none", "loss_weight", given, f"Caffe wants {tops} here")


def no_way_back(node: Node, need: Need) -> NetError | None:
    """Return the error Caffe ends with when this layer goes back, if it does."""
    if node.layer.gradient is Gradient.REFUSED:
        return node.spec.error(f"{node.type} has no gradient", hint="a loss, or force_backward, asks for one")
    for index in node.layer.no_gradient:
        if need.bottoms[index:][:1] == [True]:
            hint = "propagate_down: false for it; it comes from a learned layer, or force_backward asks for it"
            return node.spec.error(f"{node.type} has no gradient for it", "bottom", node.bottoms[index], hint)
    return None
