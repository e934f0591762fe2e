"""How one layer of a net runs: one class per way of running, each with reshape, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

import torch

from caffe_compat.data import DataSource
from caffe_compat.graph.backward import Need
from caffe_compat.graph.graph import Node
from caffe_compat.layers import Source, View
from caffe_compat.pycaffe.blob import Blob
from caffe_compat.pycaffe.compute import ModuleStep
from caffe_compat.pycaffe.layer import Layer
from caffe_compat.pycaffe.mode import device
from caffe_compat.pycaffe.step import Step, assign, share
from caffe_compat.schema import caffe_pb2 as pb


class SilentStep(Step):
    """Silence: nothing forward, zeros backward."""

    def backward(self) -> None:
        """Clear the gradients asked for."""
        for blob, asked in zip(self.bottoms, self.need.bottoms, strict=True):
            if asked:
                blob.gradients().zero_()


class ViewStep(Step):
    """The top is the bottom's memory, under another shape: the gradients too, or from the backward pass on."""

    def __init__(self, node: Node, layer: Layer, bottoms: Sequence[Blob], tops: Sequence[Blob], need: Need) -> None:
        super().__init__(node, layer, bottoms, tops, need)
        self.view = node.layer.top_view(node.spec.param)

    def reshape(self) -> None:
        """Share the memory."""
        spec = replace(self.node.spec, bottoms=(self.bottoms[0].shape,))
        for error in self.node.layer.check(spec):
            raise error
        (shape,) = self.node.layer.top_shapes(spec)
        share(self.tops[0], self.bottoms[0], shape)
        if self.view is View.VALUES_AND_GRADIENTS:
            self.tops[0].share_diff(self.bottoms[0])

    def forward(self) -> None:
        """Share the memory again, in case it was renewed."""
        self.reshape()

    def backward(self) -> None:
        """Give the bottom the top's gradients, where they are not the bottom's already."""
        if self.view is View.VALUES_THEN_GRADIENTS:
            self.bottoms[0].share_diff(self.tops[0])


class SplitStep(Step):
    """Tops that share the bottom's values; their gradients add up."""

    def reshape(self) -> None:
        """Share the values."""
        for top in self.tops:
            share(top, self.bottoms[0], self.bottoms[0].shape)

    def forward(self) -> None:
        """Share the values again, in case they were renewed."""
        self.reshape()

    def backward(self) -> None:
        """Add the gradients up, the first two first."""
        if not self.need.bottoms[0]:
            return
        where = device()
        total = self.bottoms[0].gradients(where)
        total.copy_(self.tops[0].gradients(where))
        for top in self.tops[1:]:
            total.add_(top.gradients(where))


class ParameterStep(Step):
    """Parameter: the top is the parameter itself, gradients as well, which are thus written over, not added to.

    From the first pass on: a loss weight, which lies in the top's gradient till then, counts for nothing, as in Caffe.
    """

    def forward(self) -> None:
        """Share the memory."""
        (blob,) = self.layer.blobs
        share(self.tops[0], blob, blob.shape)
        self.tops[0].share_diff(blob)


class DataStep(Step):
    """A data layer: its tops take the next batch of a source.

    DummyData's constant tops are filled once; what a script writes into them stays.
    """

    source: DataSource

    def prepare(self, source: DataSource) -> None:
        """Connect the source and fill the constant tops."""
        self.source = source
        self.constant: frozenset[str] = getattr(source, "constant", frozenset())
        if self.constant:
            self._take(self.constant)

    def forward(self) -> None:
        """Take the next batch."""
        self._take(set(self.node.tops) - self.constant)

    def _take(self, wanted: AbstractSet[str]) -> None:
        batch = self.source.next()
        where = device()
        for name, top in zip(self.node.tops, self.tops, strict=True):
            if name in wanted:
                assign(top, batch[name], where)


class EltwiseInPlaceStep(ModuleStep):
    """SUM and MAX whose first bottom is the top, which Caffe clears before it reads anything.

    The gradients are written one after the other, the first over that of the top.
    """

    def forward(self) -> None:
        """Combine what is left."""
        self.reshape()
        where = device()
        message, value = self.node.spec.param.eltwise_param, self.tops[0].values(where)
        others = [bottom.values(where) for bottom in self.bottoms[1:]]
        if message.operation == pb.EltwiseParameter.SUM:
            self._coefficients = list(message.coeff) or [1.0] * len(self.bottoms)
            value.zero_()
            for coefficient, other in zip(self._coefficients[1:], others, strict=True):
                value.add_(other, alpha=coefficient)
            return
        value.fill_(torch.finfo(value.dtype).min)
        self._source = (~(value > others[0])).long()
        value.copy_(torch.where(self._source == 0, value, others[0]))
        for number, other in enumerate(others[1:], 2):
            larger = other > value
            self._source[larger] = number
            value.copy_(torch.where(larger, other, value))

    def backward(self) -> None:
        """Write the gradients asked for."""
        where = device()
        for number, bottom in enumerate(self.bottoms):
            if not self.need.bottoms[number]:
                continue
            grad = self.tops[0].gradients(where)
            if self.node.spec.param.eltwise_param.operation == pb.EltwiseParameter.SUM:
                bottom.gradients(where).copy_(grad * self._coefficients[number])
            else:
                bottom.gradients(where).copy_(torch.where(self._source == number, grad, 0))


class PythonStep(Step):
    """A layer written in Python; its methods see the blobs themselves."""

    layer: Any

    def reshape(self) -> None:
        """Call the layer's reshape."""
        self.layer.reshape(self.bottoms, self.tops)

    def forward(self) -> None:
        """Call the layer's reshape and forward."""
        self.layer.reshape(self.bottoms, self.tops)
        self.layer.forward(self.bottoms, self.tops)

    def backward(self) -> None:
        """Call the layer's backward."""
        self.layer.backward(self.tops, list(self.need.bottoms), self.bottoms)


def _is_product(node: Node) -> bool:
    return node.spec.param.eltwise_param.operation == pb.EltwiseParameter.PROD


def make_step(
    node: Node, layer: Layer, bottoms: Sequence[Blob], tops: Sequence[Blob], need: Need, *, exact: bool
) -> Step:
    """Return how a layer runs."""
    if node.type == "Python":
        return PythonStep(node, layer, bottoms, tops, need)
    if node.layer.source is Source.CALLER:
        return Step(node, layer, bottoms, tops, need)
    if node.layer.is_data:
        return DataStep(node, layer, bottoms, tops, need)
    if not tops and not node.layer.has_effect:
        return SilentStep(node, layer, bottoms, tops, need)
    if node.type == "Parameter":
        return ParameterStep(node, layer, bottoms, tops, need)
    view = node.layer.top_view(node.spec.param)
    if view is View.VALUES:
        return SplitStep(node, layer, bottoms, tops, need)
    if view is not View.NONE:
        return ViewStep(node, layer, bottoms, tops, need)
    if node.type == "Eltwise" and tops[0] is bottoms[0] and not _is_product(node):
        return EltwiseInPlaceStep(node, layer, bottoms, tops, need)
    return ModuleStep(node, layer, bottoms, tops, need, exact=exact)
