"""A pycaffe net as the solver trains it: its parameters are the blobs' memory, its gradients their diffs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike

import torch

from caffe_compat.build.weights import LoadReport
from caffe_compat.data import DataSource
from caffe_compat.definition.prepare import PreparedNet
from caffe_compat.graph.graph import NetGraph
from caffe_compat.graph.sharing import Slot
from caffe_compat.layers import BlobDef
from caffe_compat.pycaffe.blob import Blob
from caffe_compat.pycaffe.mode import device as mode_device
from caffe_compat.pycaffe.net import Net
from caffe_compat.solver.debug import Say
from caffe_compat.solver.nets import Outputs


class LearnedBlob:
    """A parameter in Caffe's shape.

    Attributes
    ----------
    lr_mult, decay_mult : multipliers of the solver's rate and decay.
    blob : its shape; no module's orientation matters here.
    """

    def __init__(self, slot: Slot, blob: Blob) -> None:
        self.lr_mult, self.decay_mult = slot.lr_mult, slot.decay_mult
        self.blob: BlobDef = replace(slot.blob, transposed=False)
        self._held = blob
        self._seen: tuple[object, ...] = ()
        self._tensor = torch.zeros(0)

    @property
    def tensor(self) -> torch.Tensor:
        """The values; its ``grad`` is the diff. The same object as long as the memory is."""
        where, blob = mode_device(), self._held
        values, gradients = blob.values(where), blob.gradients(where)
        seen = (blob.data_memory, blob.diff_memory, where)
        if seen != self._seen:
            self._tensor, self._seen = values, seen
        self._tensor.grad = gradients
        return self._tensor


class LayerwiseNet:
    """A net that a solver trains through :class:`caffe_compat.pycaffe.Net`'s passes.

    Attributes
    ----------
    net : what scripts know.
    weights : the loss weight of each output blob, 0 where it has none.
    """

    def __init__(self, net: PreparedNet) -> None:
        self.net = Net.of(net)
        losses = dict(self.graph.losses)
        self.weights: Mapping[str, float] = {name: losses.get(name, 0.0) for name in self.graph.outputs}
        self._params = [LearnedBlob(slot, blob) for slot, blob in self.net.parameters() if slot.owner is None]

    @property
    def graph(self) -> NetGraph:
        """The graph it was built from."""
        return self.net.graph

    @property
    def sources(self) -> Sequence[DataSource]:
        """What feeds it."""
        return self.net.sources

    def close(self) -> None:
        """Close the sources."""
        for source in self.sources:
            source.close()

    @property
    def params(self) -> Sequence[LearnedBlob]:
        """The parameters in Caffe's order, shared ones once."""
        return self._params

    def clear(self) -> None:
        """Set the gradients to zero."""
        self.net.clear_param_diffs()

    def forward(self) -> Outputs:
        """Run the next batch."""
        loss = self.net._forward(0, len(self.net.layers) - 1)
        found = self.net.blobs_by_name
        return {name: found[name].values() for name in self.weights}, torch.tensor(loss)

    def forward_backward(self) -> Outputs:
        """Run the next batch both ways; gradients add to those there are."""
        outputs = self.forward()
        self.net._backward(len(self.net.layers) - 1, 0)
        lines = self.net.watch.lines
        if lines is not None:
            tensors = [item.tensor for item in self._params]
            lines.total(tensors, [tensor.grad for tensor in tensors])
        return outputs

    def watch(self, say: Say | None) -> None:
        """Write the mean of every blob to the log in each pass; None: no longer."""
        self.net.watch.tell(say)

    def share(self, other: LayerwiseNet) -> None:
        """Use the parameters of another net in layers of the same names."""
        self.net.share_with(other.net)

    def load(self, path: str | PathLike[str]) -> LoadReport:
        """Copy weights by layer name."""
        return self.net.load(path)

    def save(self, path: str | PathLike[str], fmt: str, *, diffs: bool) -> None:
        """Write the weights."""
        self.net.write(path, fmt, diffs=diffs)
