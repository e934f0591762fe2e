"""A layer in its net: what every way of running one has."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from caffe_compat.graph.backward import Need
from caffe_compat.graph.graph import Node
from caffe_compat.pycaffe.blob import Blob
from caffe_compat.pycaffe.layer import Layer


class Step:
    """One layer in its net.

    Parameters
    ----------
    node : the layer in the graph.
    layer : the layer as scripts see it; its blobs are the parameters.
    bottoms, tops : its blobs.
    need : what it does in a backward pass.
    """

    def __init__(self, node: Node, layer: Layer, bottoms: Sequence[Blob], tops: Sequence[Blob], need: Need) -> None:
        self.node, self.layer, self.need = node, layer, need
        self.bottoms, self.tops = list(bottoms), list(tops)

    def reshape(self) -> None:
        """Give the tops the shapes that follow from the bottoms'."""

    def forward(self) -> None:
        """Compute the tops."""

    def backward(self) -> None:
        """Compute the gradients of bottoms and parameters from the tops'."""

    def loss(self) -> float:
        """Return what the tops add to the loss: their values times the weights in their gradients."""
        return sum(
            float(torch.dot(top.values().flatten(), top.gradients().flatten()))
            for top, weight in zip(self.tops, self.node.loss_weights, strict=True)
            if weight
        )


def share(top: Blob, bottom: Blob, shape: Sequence[int]) -> None:
    """Make a top the bottom's values under a shape of its own."""
    if top.shape != tuple(shape):
        top.reshape(*shape)
    top.share_data(bottom)


def assign(top: Blob, value: torch.Tensor, where: torch.device) -> None:
    """Copy a result into a blob, which takes its shape where that is known only now."""
    if value.numel() != top.count:
        top.reshape(*value.shape)
    top.values(where).copy_(value.reshape(top.shape))
