"""Steps: each runs one layer of a net on the memory of its blobs, with reshape, forward and backward.

A step keeps the tensors of its autograd graph until it runs forward again. It overwrites gradients of blobs and adds to
gradients of parameters, as Caffe does.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from caffe_compat.build.exact import sum_as_caffe
from caffe_compat.data import DataSource
from caffe_compat.graph.backward import Need
from caffe_compat.graph.graph import LayerNode
from caffe_compat.layers import LayerSpec, Reads, Source, View
from caffe_compat.layers.facts import Continuing, Memories
from caffe_compat.pycaffe.blob import Blob
from caffe_compat.pycaffe.layer import Layer
from caffe_compat.pycaffe.mode import device
from caffe_compat.schema import caffe_pb2 as pb


class Step:
    """One layer in its net, from its bottom blobs to its top blobs.

    `layer` is the layer as scripts see it; its blobs are the parameters. `need` is the part in a backward pass.
    """

    def __init__(
        self, node: LayerNode, layer: Layer, bottoms: Sequence[Blob], tops: Sequence[Blob], need: Need
    ) -> None:
        self.node, self.layer, self.need = node, layer, need
        self.bottoms, self.tops = list(bottoms), list(tops)

    def reshape(self) -> None:
        """Give the tops the shapes that follow from the bottoms'."""

    def forward(self) -> None:
        """Compute the tops."""

    def backward(self) -> None:
        """Compute the gradients of bottoms and parameters from the tops'."""

    def loss(self) -> float:
        """Return the tops' share of the loss: their values times the weights in their gradients."""
        return sum(
            float(torch.dot(top.values().flatten(), top.gradients().flatten()))
            for top, weight in zip(self.tops, self.node.loss_weights, strict=True)
            if weight
        )


def share(top: Blob, bottom: Blob, shape: Sequence[int]) -> None:
    """Make a top a view of the bottom's values, in a shape of its own."""
    if top.shape != tuple(shape):
        top.reshape(*shape)
    top.share_data(bottom)


def assign(top: Blob, value: torch.Tensor, where: torch.device) -> None:
    """Copy a result into a blob; reshape the blob first if the result has another size."""
    if value.numel() != top.count:
        top.reshape(*value.shape)
    top.values(where).copy_(value.reshape(top.shape))


class SilentStep(Step):
    """Silence: nothing forward, zeros backward."""

    def backward(self) -> None:
        """Set the required gradients to zero."""
        for blob, required in zip(self.bottoms, self.need.bottoms, strict=True):
            if required:
                blob.gradients().zero_()


class ViewStep(Step):
    """A top that views the bottom's memory in another shape; the gradients too, at once or after a backward pass."""

    def __init__(
        self, node: LayerNode, layer: Layer, bottoms: Sequence[Blob], tops: Sequence[Blob], need: Need
    ) -> None:
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
        """Share the memory again, in case the bottom has new memory."""
        self.reshape()

    def backward(self) -> None:
        """Share the top's gradients with the bottom, unless they are shared already."""
        if self.view is View.VALUES_THEN_GRADIENTS:
            self.bottoms[0].share_diff(self.tops[0])


class SplitStep(Step):
    """Tops that share the bottom's values; their gradients add up."""

    def reshape(self) -> None:
        """Share the values."""
        for top in self.tops:
            share(top, self.bottoms[0], self.bottoms[0].shape)

    def forward(self) -> None:
        """Share the values again, in case the bottom has new memory."""
        self.reshape()

    def backward(self) -> None:
        """Sum the gradients in Caffe's order."""
        if not self.need.bottoms[0]:
            return
        where = device()
        total = self.bottoms[0].gradients(where)
        total.copy_(self.tops[0].gradients(where))
        for top in self.tops[1:]:
            total.add_(top.gradients(where))


class ParameterStep(Step):
    """Parameter: the top shares the parameter's values and gradients, so a pass overwrites the gradients.

    The sharing starts with the first forward pass and discards a loss weight in the top's gradient, as in Caffe.
    """

    def forward(self) -> None:
        """Share the memory."""
        (blob,) = self.layer.blobs
        share(self.tops[0], blob, blob.shape)
        self.tops[0].share_diff(blob)


class DataStep(Step):
    """A data layer: its tops take the next batch of a source.

    DummyData's constant tops are filled once; values that a script writes into them stay.
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

    def _take(self, names: AbstractSet[str]) -> None:
        batch = self.source.next()
        where = device()
        for name, top in zip(self.node.tops, self.tops, strict=True):
            if name in names:
                assign(top, batch[name], where)


class ModuleStep(Step):
    """A layer computed by a torch module whose parameters are the blobs' memory."""

    def __init__(
        self,
        node: LayerNode,
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
        """Make the module for these shapes; parameters and its state between passes stay."""
        holder = nn.Module()
        with torch.device("meta"):
            holder.add_module("layer", self.node.layer.module(spec))
        if self.exact:
            sum_as_caffe(holder)
        module = holder.get_submodule("layer").train(self.node.message.phase == pb.TRAIN)
        if isinstance(module, Continuing) and type(module) is type(self.module):
            module.go_on_from(self.module)
        self.spec, self.module = spec, module
        self._bound: list[object] = []
        self._params: list[torch.Tensor] = []
        self._last_pass: tuple[list[torch.Tensor], list[torch.Tensor], list[int]] | None = None

    def reshape(self) -> None:
        """Give the tops the shapes that follow from the bottoms'."""
        shapes = tuple(bottom.shape for bottom in self.bottoms)
        if shapes != self.spec.bottoms:
            spec = replace(self.spec, bottoms=shapes)
            for error in self.node.layer.check(spec):
                raise error
            parameters = [blob.shape for blob in self.layer.blobs]
            expected = [blob.shape for blob in self.node.layer.blobs(spec)]
            if parameters != expected:
                hint = "build another net for bottoms of these shapes"
                problem = f"parameters do not fit these bottoms: they have shapes {parameters}, expected {expected}"
                raise spec.misfit(problem, shapes, hint)
            self._build(spec)
        for top, shape in zip(self.tops, self.node.layer.top_shapes(self.spec), strict=True):
            if top.shape != shape:
                top.reshape(*shape)

    def forward(self) -> None:
        """Compute the tops; keep the tensors that the backward pass needs."""
        self.reshape()
        inputs, outputs = self._run(keep=self.need.layer and torch.is_grad_enabled())
        where = device()
        for top, value in zip(self.tops, outputs, strict=True):
            assign(top, value.detach(), where)
        self._last_pass = (inputs, outputs, self._versions()) if self.need.layer else None
        self.node.layer.after_forward(self.spec, self._memories(where, inputs, outputs))

    def _run(self, *, keep: bool) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        where = device()
        self._bind(where)
        inputs = []
        for i, bottom in enumerate(self.bottoms):
            value = bottom.values(where)
            # `.data`: the layer sees the memory's content at the backward pass, as Caffe's does
            value = value.clone() if self.in_place[i] else value.data
            value = self.node.layer.caffe_input(self.spec, value)
            inputs.append(value.requires_grad_(keep and self.need.writes(self.node, i)))
        with torch.set_grad_enabled(keep):
            result = self.module(*inputs)
        if not self.tops:
            return inputs, []
        return inputs, list(result) if isinstance(result, tuple) else [result]

    def _bind(self, where: torch.device) -> None:
        """Make the module's parameters the blobs' memory."""
        memories = [where, *(blob.data_memory for blob in self.layer.blobs)]
        if len(memories) == len(self._bound) and all(a is b for a, b in zip(memories, self._bound, strict=True)):
            for blob in self.layer.blobs:
                blob.values(where)  # copies writes from another device
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
        """Overwrite the gradients of the bottoms and add to those of the parameters."""
        if (
            self._last_pass is None
            or self._last_pass[2] != self._versions()
            or not any(v.requires_grad for v in self._last_pass[1])
        ):
            with torch.enable_grad():
                self._last_pass = (*self._run(keep=True), self._versions())
        inputs, outputs, _ = self._last_pass
        where = device()
        memories = self._memories(where, inputs, outputs)
        caffe_gradients = self.node.layer.caffe_gradients(self.spec, memories) if self.tops else None
        if caffe_gradients is not None:
            for value, bottom, grad in zip(inputs, self.bottoms, caffe_gradients, strict=False):
                if value.requires_grad:
                    bottom.gradients(where).copy_(grad)
            return
        self._reread(inputs, outputs, where)
        if inputs and not self.in_place[0] and not inputs[0].requires_grad:
            self._scratch(inputs, memories)
        gradients = self._gradients(inputs, outputs, where)
        for value, bottom in zip(inputs, self.bottoms, strict=True):
            if id(value) in gradients:
                bottom.gradients(where).copy_(gradients[id(value)].view(bottom.shape))
        for value, blob, slot in zip(self._params, self.layer.blobs, self.node.slots, strict=True):
            if id(value) in gradients:
                total = blob.gradients(where)
                if self.node.layer.overwrites_gradient(self.spec, slot.index):
                    total.zero_()
                total.add_(slot.blob.to_caffe(gradients[id(value)]))

    def _scratch(self, inputs: Sequence[torch.Tensor], memories: Memories) -> None:
        """Repeat Caffe's scratch writes to an unused gradient if the next bottom or parameter needs a gradient."""
        if any(value.requires_grad for value in [*inputs[1:], *self._params][:1]):
            self.node.layer.scratch_gradient(self.spec, memories)

    def _memories(self, where: torch.device, *values: Sequence[torch.Tensor]) -> Memories:
        inputs, outputs = ([value.detach() for value in side] for side in values)
        return Memories(self.bottoms, self.tops, where, inputs, outputs)

    def _gradients(
        self, inputs: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor], where: torch.device
    ) -> dict[int, torch.Tensor]:
        """Return the gradients by the ids of inputs and parameters."""
        leaves = [v for v in (*inputs, *self._params) if v.requires_grad]
        tops = [(value, top) for value, top in zip(outputs, self.tops, strict=True) if value.requires_grad]
        if not tops or not leaves:
            return {}
        seeds = [top.gradients(where).to(value.dtype).view(value.shape) for value, top in tops]
        if any(self.in_place):
            seeds = [seed.clone() for seed in seeds]
        grads: Sequence[torch.Tensor | None] = torch.autograd.grad(
            [v for v, _ in tops], leaves, seeds, retain_graph=True, allow_unused=True
        )
        return {id(value): grad for value, grad in zip(leaves, grads, strict=True) if grad is not None}

    def _reread(self, inputs: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor], where: torch.device) -> None:
        """Copy blobs that in-place layers have overwritten to the autograd graph if Caffe's gradient reads them."""
        layer = self.node.layer
        if Reads.TOP in layer.backward_reads(self.spec.param):
            outputs[0].data.copy_(self.tops[0].values(where))
        if layer.rereads_in_place and self.in_place[0]:
            for value in (inputs[0], outputs[0]):
                value.data.copy_(self.bottoms[0].values(where))


class EltwiseInPlaceStep(ModuleStep):
    """Eltwise whose first bottom is the top; SUM and MAX clear it before they read a bottom.

    The gradients are written in order; the first overwrites the top's.
    """

    def forward(self) -> None:
        """Combine the top and the other bottoms."""
        self.reshape()
        where = device()
        message, value = self.node.spec.param.eltwise_param, self.tops[0].values(where)
        rest = [bottom.values(where) for bottom in self.bottoms[1:]]
        if message.operation == pb.EltwiseParameter.PROD:
            for other in rest:
                value.mul_(other)
            return
        if message.operation == pb.EltwiseParameter.SUM:
            self._coefficients = list(message.coeff) or [1.0] * len(self.bottoms)
            value.zero_()
            for coefficient, other in zip(self._coefficients[1:], rest, strict=True):
                value.add_(other, alpha=coefficient)
            return
        value.fill_(torch.finfo(value.dtype).min)
        self._source = (~(value > rest[0])).long()
        value.copy_(torch.where(self._source == 0, value, rest[0]))
        for number, other in enumerate(rest[1:], 2):
            larger = other > value
            self._source[larger] = number
            value.copy_(torch.where(larger, other, value))

    def backward(self) -> None:
        """Write the required gradients."""
        where = device()
        operation, above = self.node.spec.param.eltwise_param.operation, self.tops[0].gradients(where)
        for number, bottom in enumerate(self.bottoms):
            if not self.need.bottoms[number]:
                continue
            gradient = bottom.gradients(where)
            if operation == pb.EltwiseParameter.PROD:
                gradient.copy_(self._cofactor(number, where)).mul_(above)  # the first one squares itself
            elif operation == pb.EltwiseParameter.SUM:
                gradient.copy_(above * self._coefficients[number])
            else:
                gradient.copy_(torch.where(self._source == number, above, 0))

    def _cofactor(self, number: int, where: torch.device) -> torch.Tensor:
        """Return the product of the other bottoms, or the top over this one without stable_prod_grad."""
        values = [bottom.values(where) for bottom in self.bottoms]
        if self.node.spec.param.eltwise_param.stable_prod_grad:
            return functools.reduce(operator.mul, values[:number] + values[number + 1 :])
        return values[0] / values[number]


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


def make_step(
    node: LayerNode, layer: Layer, bottoms: Sequence[Blob], tops: Sequence[Blob], need: Need, *, exact: bool
) -> Step:
    """Return the step that runs a layer."""
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
    if node.type == "Eltwise" and tops[0] is bottoms[0]:
        return EltwiseInPlaceStep(node, layer, bottoms, tops, need)
    return ModuleStep(node, layer, bottoms, tops, need, exact=exact)
