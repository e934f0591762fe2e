"""Errors with which Caffe aborts when it builds a net or runs it backward."""

from __future__ import annotations

from collections.abc import Iterator

from caffe_compat.errors import NetError
from caffe_compat.graph.backward import Need
from caffe_compat.graph.graph import LayerNode
from caffe_compat.layers import Gradient


def loss_weight_problems(node: LayerNode) -> Iterator[NetError]:
    """Yield an error if only some tops of a layer have loss weights.

    A loss layer with two tops has one by default, so it needs both weights in its definition.
    """
    given, tops = list(node.message.loss_weight), len(node.tops)
    if given and len(given) != tops:
        hint = "give a weight for each top"
        yield node.spec.error(
            f"needs one weight per top ({tops}), got {len(given)}", "loss_weight", given, hint, code="wrong-count"
        )


def backward_problem(node: LayerNode, need: Need) -> NetError | None:
    """Return the error with which Caffe aborts in the backward pass of this layer, or None."""
    if node.layer.gradient is Gradient.REFUSED:
        hint = "remove force_backward, or set propagate_down: false in the layers that read its tops"
        return node.spec.error(f"{node.type} has no gradient", hint=hint, code="unsupported")
    for index in node.layer.no_gradient:
        if need.bottoms[index:][:1] == [True]:
            problem = f"{node.type} has no gradient for this bottom, which a learned layer or force_backward needs"
            hint = "remove force_backward, or set propagate_down: false for it"
            return node.spec.error(problem, "bottom", node.bottoms[index], hint, code="unsupported")
    return None
