"""Parameters shared by name: who owns a blob, and what the solver multiplies its rate and decay by.

Source of the rules: Caffe 1.0, Net::AppendParam.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from caffe_compat.layers import BlobDef, LayerSpec
from caffe_compat.layers.base import count
from caffe_compat.schema import caffe_pb2 as pb


@dataclass(frozen=True)
class BlobView(BlobDef):
    """A blob in another shape than the one that owns its values (share_mode PERMISSIVE)."""

    own: BlobDef = field(kw_only=True)
    """The blob as its layer would have it alone."""
    held: BlobDef = field(kw_only=True)
    """The owner's blob; the layer's module has the owner's tensor."""

    def to_torch(self, blob: torch.Tensor) -> torch.Tensor:
        """Return Caffe's blob in the form of the owner's module."""
        return self.held.to_torch(blob.reshape(self.held.shape))

    def to_caffe(self, value: torch.Tensor) -> torch.Tensor:
        """Return the owner's tensor as Caffe's blob of this layer."""
        return self.held.to_caffe(value).reshape(self.shape)


def show_views(module: nn.Module, views: Iterable[BlobView]) -> None:
    """Let a module compute with the owner's values in its own shapes."""
    for view in views:
        module.register_forward_pre_hook(_Show(view))
        module.register_forward_hook(_Hide(view), always_call=True)


@dataclass(frozen=True)
class _Show:
    """Replaces the owner's tensor by a view while the module runs."""

    view: BlobView

    def __call__(self, module: nn.Module, _: object) -> None:
        held = module._parameters[self.view.name]
        assert held is not None
        module.__dict__[self.view.name] = self.view.own.to_torch(self.view.to_caffe(held))


@dataclass(frozen=True)
class _Hide:
    """Removes the view."""

    view: BlobView

    def __call__(self, module: nn.Module, *_: object) -> None:
        module.__dict__.pop(self.view.name, None)


@dataclass(frozen=True)
class Slot:
    """One parameter blob in its place: blob `index` of a layer, with the multipliers of the solver's rate and decay."""

    layer: str
    index: int
    key: str
    """Its name in the state_dict, ``<layer>.<attribute>``."""
    blob: BlobDef
    lr_mult: float
    decay_mult: float
    owner: str | None = None
    """Key of the slot it shares its values with (parameters of one name); None where it owns them."""
    view: BlobView | None = None
    """Its view of the owner's values, if its shape differs."""

    @property
    def stored(self) -> BlobDef:
        """The blob in the form of the tensor under `key`."""
        return self.view or self.blob


@dataclass
class Sharing:
    """The named parameters of the layers added so far: the first slot of each name."""

    owners: dict[str, Slot] = field(default_factory=dict)
    given: dict[str, dict[str, float]] = field(default_factory=dict)
    """lr_mult and decay_mult of each name, as far as any of its layers gives them."""

    def placed(self, spec: LayerSpec, slot: Slot, given: pb.ParamSpec) -> Slot:
        """Return a slot with its owner, if another layer has a parameter of this name."""
        if not given.name:
            return slot
        owner = self.owners.setdefault(given.name, slot)
        self._multipliers(spec, given)
        if owner is slot:
            return slot
        mine, theirs = slot.blob.shape, owner.blob.shape
        permitted = given.share_mode == pb.ParamSpec.PERMISSIVE and count(mine) == count(theirs)
        if mine != theirs and not permitted:
            problem = f"the shared parameter has shape {mine} here, {theirs} in layer {owner.layer!r}"
            raise spec.error(problem, "param.name", given.name, code="shape-mismatch")
        if mine == theirs:
            return replace(slot, owner=owner.key, view=None)
        own, held = slot.blob, owner.blob
        view = BlobView(own.name, own.shape, own.filler, held.transposed, own.buffer, own=own, held=held)
        return replace(slot, owner=owner.key, view=view)

    def _multipliers(self, spec: LayerSpec, given: pb.ParamSpec) -> None:
        earlier = self.given.setdefault(given.name, {})
        for name in ("lr_mult", "decay_mult"):
            value = getattr(given, name)
            if given.HasField(name) and earlier.setdefault(name, value) != value:
                problem = f"another layer that shares {given.name!r} has {earlier[name]:g}"
                raise spec.error(problem, f"param.{name}", value, "write the same value in both", code="mismatch")

    def settled(self, slot: Slot) -> Slot:
        """Return a slot with the multipliers that any of the layers sharing it gives."""
        names = {owner.key: name for name, owner in self.owners.items()}
        given = self.given.get(names.get(slot.key, ""), {})
        lr, decay = given.get("lr_mult", slot.lr_mult), given.get("decay_mult", slot.decay_mult)
        return replace(slot, lr_mult=lr, decay_mult=decay)
