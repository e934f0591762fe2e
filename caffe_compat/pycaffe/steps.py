"""How one layer of a net runs: one class per way of running, each with reshape, forward and backward.

A layer is computed by the module of its type, on the blobs' own memory: what autograd needs for the way back is kept
until the layer runs forward again. Gradients of blobs are overwritten, those of parameters added to, as Caffe's are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from caffe_compat.data import DataSource
from caffe_compat.exact import sum_as_caffe
from caffe_compat.graph import Node
from caffe_compat.layers import LayerSpec
from caffe_compat.layers.recurrent import RecurrentModule
from caffe_compat.proto import caffe_pb2 as pb
from caffe_compat.pycaffe.blob import Blob
from caffe_compat.pycaffe.layer import Layer
from caffe_compat.pycaffe.mode import device
from caffe_compat.pycaffe.need import Need

_VIEWS = frozenset({"Reshape", "Flatten"})
"""Types whose top is the bottom's memory in another shape."""
_READS_TOP = frozenset({"Sigmoid", "Softmax", "TanH"})
_READS_BOTTOM = frozenset({"BNLL", "Clip", "ReLU"})
"""Types whose gradient Caffe takes from what the top's, or the bottom's, memory holds when the net goes back."""


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


class SilentStep(Step):
    """Silence: nothing forward, zeros backward."""

    def backward(self) -> None:
        """Clear the gradients asked for."""
        for blob, asked in zip(self.bottoms, self.need.bottoms, strict=True):
            if asked:
                blob.gradients().zero_()


class ViewStep(Step):
    """The top is the bottom's memory, values and gradients, under another shape."""

    def reshape(self) -> None:
        """Share the memory."""
        (shape,) = self.node.layer.top_shapes(replace(self.node.spec, bottoms=(self.bottoms[0].shape,)))
        _share(self.tops[0], self.bottoms[0], shape)
        self.tops[0].share_diff(self.bottoms[0])

    def forward(self) -> None:
        """Share the memory again, in case it was renewed."""
        self.reshape()


class SplitStep(Step):
    """Tops that share the bottom's values; their gradients add up."""

    def reshape(self) -> None:
        """Share the values."""
        for top in self.tops:
            _share(top, self.bottoms[0], self.bottoms[0].shape)

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


def _share(top: Blob, bottom: Blob, shape: Sequence[int]) -> None:
    if top.shape != tuple(shape):
        top.reshape(*shape)
    top.share_data(bottom)


class ParameterStep(Step):
    """Parameter: the top is the parameter itself, gradients as well, which are thus written over, not added to."""

    def reshape(self) -> None:
        """Share the memory."""
        (blob,) = self.layer.blobs
        _share(self.tops[0], blob, blob.shape)
        self.tops[0].share_diff(blob)

    def forward(self) -> None:
        """Share the memory again, in case it was renewed."""
        self.reshape()


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
                _assign(top, batch[name], where)


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


class ModuleStep(Step):
    """A layer computed by a torch module whose parameters are the blobs' memory."""

    def __init__(
        self,
        node: Node,
        layer: Layer,
        bottoms: Sequence[Blob],
        tops: Sequence[Blob],
        need: Need,
        *,
        exact: bool = False,
    ) -> None:
        super().__init__(node, layer, bottoms, tops, need)
        self.exact = exact
        self.in_place = [any(bottom is top for top in self.tops) for bottom in self.bottoms]
        self.module = nn.Module()
        self._build(node.spec)

    def _build(self, spec: LayerSpec) -> None:
        """Make the module for these shapes; parameters and what it remembers between passes stay."""
        holder = nn.Module()
        with torch.device("meta"):
            holder.add_module("layer", self.node.layer.module(spec))
        if self.exact:
            sum_as_caffe(holder)
        module = holder.get_submodule("layer").train(self.node.message.phase == pb.TRAIN)
        if isinstance(module, RecurrentModule) and isinstance(self.module, RecurrentModule):
            module.last = self.module.last
        self.spec, self.module = spec, module
        self._bound: list[object] = []
        self._params: list[torch.Tensor] = []
        self._kept: tuple[list[torch.Tensor], list[torch.Tensor], list[int]] | None = None

    def reshape(self) -> None:
        """Give the tops the shapes that follow from the bottoms'."""
        shapes = tuple(bottom.shape for bottom in self.bottoms)
        if shapes != self.spec.bottoms:
            spec = replace(self.spec, bottoms=shapes)
            for error in self.node.layer.check(spec):
                raise error
            fits = [blob.shape for blob in self.layer.blobs] == [d.shape for d in self.node.layer.blobs(spec)]
            if not fits:
                raise spec.error("the parameters do not fit bottoms of these shapes", "bottom", shapes)
            self._build(spec)
        for top, shape in zip(self.tops, self.node.layer.top_shapes(self.spec), strict=True):
            if top.shape != shape:
                top.reshape(*shape)

    def forward(self) -> None:
        """Compute the tops; keep what the way back needs."""
        self.reshape()
        inputs, outputs = self._run(keep=self.need.layer and torch.is_grad_enabled())
        where = device()
        for top, value in zip(self.tops, outputs, strict=True):
            _assign(top, value.detach(), where)
        self._kept = (inputs, outputs, self._versions()) if self.need.layer else None

    def _run(self, *, keep: bool) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        where = device()
        self._bind(where)
        inputs = []
        for i, bottom in enumerate(self.bottoms):
            value = bottom.values(where)
            # `.data`: the layer sees what the memory holds when it goes back, as Caffe's does
            value = value.clone() if self.in_place[i] else value.data
            inputs.append(value.requires_grad_(keep and self.need.writes(self.node, i)))
        with torch.set_grad_enabled(keep):
            found = self.module(*inputs)
        if not self.tops:
            return inputs, []
        return inputs, list(found) if isinstance(found, tuple) else [found]

    def _bind(self, where: torch.device) -> None:
        """Make the module's parameters the blobs' memory."""
        memories = [where, *(blob.data_memory for blob in self.layer.blobs)]
        if len(memories) == len(self._bound) and all(a is b for a, b in zip(memories, self._bound, strict=True)):
            for blob in self.layer.blobs:
                blob.values(where)  # brings what was written elsewhere
            return
        self._params = []
        for slot, blob, learned in zip(self.node.slots, self.layer.blobs, self.need.params, strict=True):
            path, _, name = slot.blob.name.rpartition(".")
            module = self.module.get_submodule(path)
            value = slot.blob.to_torch(blob.values(where).data)
            if slot.blob.buffer:
                module.register_buffer(name, value)
            else:
                value = nn.Parameter(value, requires_grad=learned)
                module.register_parameter(name, value)
            self._params.append(value)
        self._bound = memories

    def _versions(self) -> list[int]:
        return [param._version for param in self._params]

    def backward(self) -> None:
        """Overwrite the bottoms' gradients, add to the parameters'."""
        if self._kept is None or self._kept[2] != self._versions() or not _leads_back(self._kept[1]):
            with torch.enable_grad():
                self._kept = (*self._run(keep=True), self._versions())
        inputs, outputs, _ = self._kept
        where = device()
        self._reread(inputs, outputs, where)
        tops = [
            (value, top.gradients(where).to(value.dtype).view(value.shape))
            for value, top in zip(outputs, self.tops, strict=True)
            if value.requires_grad
        ]
        wanted = [v for v in (*inputs, *self._params) if v.requires_grad]
        if not tops or not wanted:
            return
        if any(self.in_place):
            tops = [(value, grad.clone()) for value, grad in tops]
        grads = torch.autograd.grad(
            [value for value, _ in tops], wanted, [grad for _, grad in tops], retain_graph=True, allow_unused=True
        )
        found = {id(value): grad for value, grad in zip(wanted, grads, strict=True)}
        for value, bottom in zip(inputs, self.bottoms, strict=True):
            grad = found.get(id(value))
            if grad is not None:
                bottom.gradients(where).copy_(grad.view(bottom.shape))
        for value, blob, slot in zip(self._params, self.layer.blobs, self.node.slots, strict=True):
            grad = found.get(id(value))
            if grad is not None:
                total = blob.gradients(where)
                if _overwrites(self.spec, slot.index):
                    total.zero_()
                total.add_(slot.blob.to_caffe(grad))

    def _reread(self, inputs: list[torch.Tensor], outputs: list[torch.Tensor], where: torch.device) -> None:
        """Let autograd see what layers in place have left in the blobs since, where Caffe's gradient reads it."""
        if self.node.type in _READS_TOP:
            outputs[0].data.copy_(self.tops[0].values(where))
        if self.node.type in _READS_BOTTOM and self.in_place[0]:
            for value in (inputs[0], outputs[0]):
                value.data.copy_(self.bottoms[0].values(where))


def _overwrites(spec: LayerSpec, index: int) -> bool:
    """Tell whether Caffe writes a parameter's gradient over the last one's: Scale's, where one row holds all of it.

    Seen in scale_layer.cpp: the sums go straight into the diff if the scale is as large as the bottom, or if nothing
    lies before its axes and something behind them (a batch of one).
    """
    if spec.param.type != "Scale" or len(spec.bottoms) != 1 or index != 0:
        return False
    shape, message = spec.bottoms[0], spec.param.scale_param
    axis = spec.axis(message.axis, "scale_param.axis")
    end = len(shape) if message.num_axes == -1 else axis + message.num_axes
    outer, scale, inner = (math.prod(part) for part in (shape[:axis], shape[axis:end], shape[end:]))
    return outer == inner == 1 or (outer == 1 and scale > 1 and inner > 1)


def _leads_back(outputs: Sequence[torch.Tensor]) -> bool:
    return any(value.requires_grad for value in outputs)


def _assign(top: Blob, value: torch.Tensor, where: torch.device) -> None:
    """Copy a result into a blob, which takes its shape where that is known only now."""
    if value.numel() != top.count:
        top.reshape(*value.shape)
    top.values(where).copy_(value.reshape(top.shape))


def make_step(
    node: Node, layer: Layer, bottoms: Sequence[Blob], tops: Sequence[Blob], need: Need, *, exact: bool
) -> Step:
    """Return how a layer runs."""
    if node.type == "Python":
        return PythonStep(node, layer, bottoms, tops, need)
    if node.type == "Input":
        return Step(node, layer, bottoms, tops, need)
    if node.layer.is_data:
        return DataStep(node, layer, bottoms, tops, need)
    if node.type == "Silence":
        return SilentStep(node, layer, bottoms, tops, need)
    if node.type == "Split" or (node.type in ("Concat", "Slice") and len(bottoms) == len(tops) == 1):
        return SplitStep(node, layer, bottoms, tops, need)
    if node.type == "Parameter":
        return ParameterStep(node, layer, bottoms, tops, need)
    if node.type in _VIEWS:
        return ViewStep(node, layer, bottoms, tops, need)
    return ModuleStep(node, layer, bottoms, tops, need, exact=exact)
