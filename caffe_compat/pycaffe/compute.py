"""Layers computed by torch modules on the blobs' own memory.

What autograd needs for the way back is kept until the layer runs forward again. Gradients of blobs are overwritten,
those of parameters added to, as Caffe's are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from caffe_compat.build.exact import sum_as_caffe
from caffe_compat.graph.backward import Need
from caffe_compat.graph.graph import Node
from caffe_compat.layers import LayerSpec, Reads
from caffe_compat.layers.facts import Memories
from caffe_compat.layers.recurrent import RecurrentModule
from caffe_compat.pycaffe.blob import Blob
from caffe_compat.pycaffe.layer import Layer
from caffe_compat.pycaffe.mode import device
from caffe_compat.pycaffe.step import Step, assign
from caffe_compat.schema import caffe_pb2 as pb


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
            assign(top, value.detach(), where)
        self._kept = (inputs, outputs, self._versions()) if self.need.layer else None
        self.node.layer.after_forward(self.spec, self._memories(where))

    def _run(self, *, keep: bool) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        where = device()
        self._bind(where)
        inputs = []
        for i, bottom in enumerate(self.bottoms):
            value = bottom.values(where)
            # `.data`: the layer sees what the memory holds when it goes back, as Caffe's does
            value = value.clone() if self.in_place[i] else value.data
            value = self.node.layer.caffe_input(self.spec, value)
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
        if self._kept is None or self._kept[2] != self._versions() or not any(v.requires_grad for v in self._kept[1]):
            with torch.enable_grad():
                self._kept = (*self._run(keep=True), self._versions())
        inputs, outputs, _ = self._kept
        where = device()
        own = self.node.layer.caffe_gradients(self.spec, self._memories(where, outputs)) if self.tops else None
        if own is not None:
            for value, bottom, grad in zip(inputs, self.bottoms, own, strict=False):
                if value.requires_grad:
                    bottom.gradients(where).copy_(grad)
            return
        self._reread(inputs, outputs, where)
        if inputs and not self.in_place[0] and not inputs[0].requires_grad:
            self._scratch(inputs, where)
        found = self._gradients(inputs, outputs, where)
        for value, bottom in zip(inputs, self.bottoms, strict=True):
            if id(value) in found:
                bottom.gradients(where).copy_(found[id(value)].view(bottom.shape))
        for value, blob, slot in zip(self._params, self.layer.blobs, self.node.slots, strict=True):
            if id(value) in found:
                total = blob.gradients(where)
                if self.node.layer.overwrites_gradient(self.spec, slot.index):
                    total.zero_()
                total.add_(slot.blob.to_caffe(found[id(value)]))

    def _scratch(self, inputs: Sequence[torch.Tensor], where: torch.device) -> None:
        """Do what Caffe does in a gradient that nothing asks for, on the way to that of the next bottom or blob."""
        if any(value.requires_grad for value in [*inputs[1:], *self._params][:1]):
            self.node.layer.scratch_gradient(self.spec, self._memories(where))

    def _memories(self, where: torch.device, outputs: Sequence[torch.Tensor] = ()) -> Memories:
        return Memories(self.bottoms, self.tops, where, next(iter(outputs), None))

    def _gradients(
        self, inputs: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor], where: torch.device
    ) -> dict[int, torch.Tensor]:
        """Return the gradients there are, by the ids of inputs and parameters."""
        wanted = [v for v in (*inputs, *self._params) if v.requires_grad]
        tops = [(value, top) for value, top in zip(outputs, self.tops, strict=True) if value.requires_grad]
        if not tops or not wanted:
            return {}
        seeds = [top.gradients(where).to(value.dtype).view(value.shape) for value, top in tops]
        if any(self.in_place):
            seeds = [seed.clone() for seed in seeds]
        grads: Sequence[torch.Tensor | None] = torch.autograd.grad(
            [v for v, _ in tops], wanted, seeds, retain_graph=True, allow_unused=True
        )
        return {id(value): grad for value, grad in zip(wanted, grads, strict=True) if grad is not None}

    def _reread(self, inputs: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor], where: torch.device) -> None:
        """Let autograd see what layers in place have left in the blobs since, where Caffe's gradient reads it."""
        layer = self.node.layer
        if Reads.TOP in layer.backward_reads(self.spec.param):
            outputs[0].data.copy_(self.tops[0].values(where))
        if layer.rereads_in_place and self.in_place[0]:
            for value in (inputs[0], outputs[0]):
                value.data.copy_(self.bottoms[0].values(where))
