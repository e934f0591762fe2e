"""Find the layers, bottoms and parameters that get gradients in a backward pass, and what Caffe refuses there.

Source of the rules: BVLC Caffe 9b89154, Net::Init (need_backward, blobs under a loss, propagate_down, force_backward)
and, per layer type, AllowForceBackward and whether Backward_cpu asks propagate_down at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from caffe_compat.errors import NetError
from caffe_compat.graph.graph import LayerNode
from caffe_compat.layers import Gradient


@dataclass
class Need:
    """The part of one layer in a backward pass."""

    layer: bool
    bottoms: list[bool]
    """Caffe's propagate_down."""
    params: list[bool]

    def writes(self, node: LayerNode, index: int) -> bool:
        """Tell whether a bottom's gradient is computed."""
        unasked = node.layer.writes_unasked(node.spec.param) and index != node.layer.unforced
        return self.bottoms[index] or unasked


def needs(nodes: Sequence[LayerNode], *, force: bool) -> list[Need]:
    """Return the part of each layer in a backward pass; `force` is force_backward."""
    blobs: dict[str, bool] = {}
    needed = [_need(node, blobs) for node in nodes]
    _leave_out(nodes, needed)
    for node, need in zip(nodes, needed, strict=True):
        if force:
            need.layer = True
            need.bottoms = [n or i != node.layer.unforced for i, n in enumerate(need.bottoms)]
            need.params = [True] * len(need.params)
        if node.layer.always_learns:
            need.params = [True] * len(need.params)
    return needed


def _need(node: LayerNode, blobs: dict[str, bool]) -> Need:
    """Return the part of a layer if everything above it contributes to a loss."""
    param = node.written  # before set-up, where BatchNorm's adds to its own
    bottoms = [blobs[blob] for blob in node.bottoms]
    params = [param.param[i].lr_mult != 0 if i < len(param.param) else True for i in range(len(node.slots))]
    layer = any(bottoms) or any(params)
    for top in node.tops:
        blobs[top] = layer or blobs.get(top, False)
    if param.propagate_down:
        bottoms = list(param.propagate_down)
    return Need(layer, bottoms, params)


def _leave_out(nodes: Sequence[LayerNode], needed: Sequence[Need]) -> None:
    """Exclude layers that no loss depends on, from the last to the first."""
    under_loss: set[str] = set()
    skipped: set[str] = set()
    for node, need in zip(reversed(nodes), reversed(needed), strict=True):
        contributes = any(w or t in under_loss for t, w in zip(node.tops, node.loss_weights, strict=True))
        if (need.layer and all(top in skipped for top in node.tops)) or not contributes:
            need.layer = False
            need.bottoms = [False] * len(need.bottoms)
        if contributes:
            under_loss.update(node.bottoms)
        skipped.update(b for b, asked in zip(node.bottoms, need.bottoms, strict=True) if not asked)


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
