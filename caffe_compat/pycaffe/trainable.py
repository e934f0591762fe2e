"""Adapter of a pycaffe net for the solver, which trains on the memory of its blobs and diffs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike

import torch

from caffe_compat.build.weights import LoadReport
from caffe_compat.definition.prepare import PreparedNet
from caffe_compat.graph.sharing import Slot
from caffe_compat.layers import BlobDef
from caffe_compat.pycaffe.blob import Blob
from caffe_compat.pycaffe.mode import device as mode_device
from caffe_compat.pycaffe.net import Net
from caffe_compat.solver.debug import Say
from caffe_compat.solver.nets import Outputs


class LearnedBlob:
    """A parameter in Caffe's shape and orientation, with the multipliers of the solver's rate and decay."""

    def __init__(self, slot: Slot, blob: Blob) -> None:
        self.lr_mult, self.decay_mult = slot.lr_mult, slot.decay_mult
        self.blob: BlobDef = replace(slot.blob, transposed=False)
        self._source = blob
        self._memories: tuple[object, ...] = ()
        self._tensor = torch.zeros(0)

    @property
    def tensor(self) -> torch.Tensor:
        """The values, with the diff as ``grad``; the same object as long as the memory is the same."""
        where, blob = mode_device(), self._source
        values, gradients = blob.values(where), blob.gradients(where)
        memories = (blob.data_memory, blob.diff_memory, where)
        if memories != self._memories:
            self._tensor, self._memories = values, memories
        self._tensor.grad = gradients
        return self._tensor


class LayerwiseNet:
    """A net that a solver trains through :class:`caffe_compat.pycaffe.Net`'s passes.

    `params` are in Caffe's order, shared ones once; `weights` has the loss weight of each output blob, 0 by default.
    """

    def __init__(self, net: PreparedNet) -> None:
        self.net = Net.of(net)
        self.graph, self.sources = self.net.graph, self.net.sources
        losses = dict(self.graph.losses)
        self.weights: Mapping[str, float] = {name: losses.get(name, 0.0) for name in self.graph.outputs}
        self.params = [LearnedBlob(slot, blob) for slot, blob in self.net.parameters() if slot.owner is None]

    def close(self) -> None:
        """Close the sources."""
        for source in self.sources:
            source.close()

    def clear(self) -> None:
        """Set the gradients of all parameters to zero."""
        self.net.clear_param_diffs()

    def forward(self) -> Outputs:
        """Run the next batch forward."""
        loss = self.net._forward(0, len(self.net.layers) - 1)
        blobs = self.net.blobs_by_name
        return {name: blobs[name].values() for name in self.weights}, torch.tensor(loss)

    def forward_backward(self) -> Outputs:
        """Run the next batch forward and backward; add to the gradients of the parameters."""
        outputs = self.forward()
        self.net._backward(len(self.net.layers) - 1, 0)
        lines = self.net.watch.lines
        if lines is not None:
            tensors = [item.tensor for item in self.params]
            lines.total(tensors, [tensor.grad for tensor in tensors])
        return outputs

    def watch(self, say: Say | None) -> None:
        """Write the mean of every blob to the log in each pass; None stops the writing."""
        self.net.watch.write_to(say)

    def share(self, other: LayerwiseNet) -> None:
        """Share the parameters of another net's layers of the same names."""
        self.net.share_with(other.net)

    def load(self, path: str | PathLike[str]) -> LoadReport:
        """Copy weights by layer name."""
        return self.net.load(path)

    def save(self, path: str | PathLike[str], fmt: str, *, diffs: bool) -> None:
        """Write the weights."""
        self.net.write(path, fmt, diffs=diffs)
