"""The layer contract: what one Caffe layer type declares, and the registry of all types.

A type is one stateless class, registered once. It declares how many bottoms and tops it takes, an account of every
field of the messages it reads, the shapes of its tops, its blobs in Caffe's order, and the torch module for it.
``register`` refuses a type whose account leaves out a field of the schema: nothing in a prototxt is skipped unseen.

Types that forks of Caffe added are registered apart, each under the forks it is of; which one a layer of a net is, is
decided in :mod:`caffe_compat.layers.resolve`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import torch
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from caffe_compat.definition.forks import FORKS, Schema
from caffe_compat.errors import CaffeCompatError, NetError
from caffe_compat.formats.extras import where
from caffe_compat.layers.custom_params import Defaults, own_message
from caffe_compat.schema import caffe_pb2 as pb

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Arity:
    """How many blobs: `low` to `high`, no upper bound where `high` is None."""

    low: int
    high: int | None

    def allows(self, count: int) -> bool:
        """Tell whether `count` blobs are acceptable."""
        return count >= self.low and (self.high is None or count <= self.high)

    def __str__(self) -> str:
        if self.high is None:
            return f"{self.low} or more"
        return str(self.low) if self.high == self.low else f"{self.low} to {self.high}"


def exactly(count: int) -> Arity:
    """Return the arity of `count` blobs, no more and no fewer."""
    return Arity(count, count)


@dataclass(frozen=True)
class Account:
    """What a layer type does with each field of one of its messages.

    Attributes
    ----------
    read : fields that decide a shape, a value, a gradient or a first weight.
    ignored : field -> why it cannot change a result here.
    rejected : field -> what is missing; a net that sets it to another value than the default is refused.
    """

    read: tuple[str, ...] = ()
    ignored: Mapping[str, str] = field(default_factory=dict)
    rejected: Mapping[str, str] = field(default_factory=dict)

    def fields(self) -> list[str]:
        """Return every field named."""
        return [*self.read, *self.ignored, *self.rejected]


@dataclass(frozen=True)
class BlobDef:
    """One parameter blob of a layer.

    Attributes
    ----------
    name : attribute of the torch module that holds it.
    shape : Caffe's shape.
    filler : how Caffe draws its first values.
    transposed : the torch module holds the transpose (2-d only).
    buffer : a statistic that no solver moves, not a parameter.
    """

    name: str
    shape: Shape
    filler: pb.FillerParameter
    transposed: bool = False
    buffer: bool = False

    def to_torch(self, blob: torch.Tensor) -> torch.Tensor:
        """Return Caffe's blob as the torch module holds it."""
        return blob.t() if self.transposed else blob

    def to_caffe(self, value: torch.Tensor) -> torch.Tensor:
        """Return the module's tensor as Caffe's blob."""
        return value.t() if self.transposed else value


@dataclass(frozen=True)
class LayerSpec:
    """One layer of a net with the shapes of its bottoms: all that a layer type is asked about.

    Attributes
    ----------
    param : the layer's message (current format).
    bottoms : shapes of the bottoms.
    phase : "TRAIN" or "TEST".
    fork : the fork the layer type is of; "" for Caffe's own.
    schema : what that fork (or a type of the user's own) adds to Caffe's messages.
    added : what the layer says there, by path of the message it is said in ("" is the layer itself).
    """

    param: pb.LayerParameter
    bottoms: tuple[Shape, ...]
    phase: str = "TEST"
    fork: str = ""
    schema: Schema = field(default_factory=dict)
    added: Mapping[str, Message] = field(default_factory=dict)

    def message(self, name: str) -> Any:
        """Return the layer's message `name`, of Caffe or of the fork; defaults where it is not given."""
        if name in pb.LayerParameter.DESCRIPTOR.fields_by_name:
            return getattr(self.param, name)
        return getattr(self.additions(""), name)

    def additions(self, path: str) -> Any:
        """Return what is added to the message at `path` ("" is the layer itself); defaults where nothing is given."""
        owner = getattr(self.param, path) if path else self.param
        return self.added.get(path) or self.schema[owner.DESCRIPTOR.name]()

    def error(self, problem: str, field: str | None = None, value: object = None, hint: str | None = None) -> NetError:
        """Return an error that names this layer and where it was read from."""
        at = where(self.param)
        return NetError(
            problem,
            file=at.file if at else None,
            line=at.line if at else None,
            layer=self.param.name,
            field=field,
            value=value,
            hint=hint,
        )

    def axis(self, axis: int, field: str, bottom: int = 0) -> int:
        """Return `axis` counted from the front, as Caffe's CanonicalAxisIndex does."""
        rank = len(self.bottoms[bottom])
        if not -rank <= axis < rank:
            raise self.error(f"the bottom has {rank} axes", field, axis, f"{-rank} to {rank - 1}")
        return axis % rank


def four_axes_at_most(spec: LayerSpec) -> Iterator[CaffeCompatError]:
    """Yield an error where the first bottom has more axes than Caffe has old names for (num to width), and asks for."""
    if len(spec.bottoms[0]) > 4:
        yield spec.error("the bottom must have 4 axes at most", "bottom", spec.bottoms[0])


class Layer:
    """Base of every layer type; subclasses override what differs."""

    type: ClassVar[str]
    summary: ClassVar[str] = ""
    bottoms: ClassVar[Arity] = exactly(1)
    tops: ClassVar[Arity] = exactly(1)
    accounts: ClassVar[Mapping[str, Account]] = {}
    is_loss: ClassVar[bool] = False
    is_data: ClassVar[bool] = False
    forks: ClassVar[tuple[str, ...]] = ()
    """The forks a type is of, where it is not Caffe's own; names of :data:`caffe_compat.definition.forks.FORKS`."""
    own: ClassVar[Mapping[str, Defaults]] = {}
    """Parameters of a type of the user's own: message name -> field -> default (docs/own_layers.md)."""
    inference: ClassVar[bool] = True
    """Whether the layer has a place in a net made for inference (losses, metrics and Silence have none)."""
    has_effect: ClassVar[bool] = False
    """Whether the layer does something besides making tops, so that it runs where it has none."""

    def setup(self, param: pb.LayerParameter) -> None:
        """Complete the message as Caffe's LayerSetUp leaves it (it is what a snapshot holds)."""
        if self.is_loss and not param.loss_weight:
            param.loss_weight.append(1)

    def complete(self, spec: LayerSpec) -> None:
        """Complete the message in place, where that depends on what a fork added to it."""
        self.setup(spec.param)

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        """Yield what is wrong with the layer's parameters."""
        return iter(())

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        """Return the shapes of the tops."""
        return (spec.bottoms[0],) * len(spec.param.top)

    def blobs(self, spec: LayerSpec) -> tuple[BlobDef, ...]:
        """Return the parameter blobs in Caffe's order."""
        return ()

    def module(self, spec: LayerSpec) -> torch.nn.Module:
        """Return the module: called with the bottoms, it returns the top (a tuple where the layer has several)."""
        raise NotImplementedError


REGISTRY: dict[str, Layer] = {}
"""Caffe's own types, and the user's own."""
FORK_REGISTRY: dict[str, tuple[Layer, ...]] = {}
"""The types of forks: several where forks use one name for different things."""


def register(cls: type[Layer]) -> type[Layer]:
    """Add a layer type to the registry (class decorator).

    Raises
    ------
    ValueError
        The type is registered already, or its account misses, repeats or invents a field.
    """
    there = {fork for layer in FORK_REGISTRY.get(cls.type, ()) for fork in layer.forks}
    if there & set(cls.forks) or (not cls.forks and cls.type in REGISTRY):
        raise ValueError(f"layer type {cls.type} is registered already")
    if unknown := set(cls.forks) - set(FORKS):
        raise ValueError(f"layer type {cls.type}: no such fork: {', '.join(sorted(unknown))}")
    schema_of(cls, next(iter(cls.forks), ""))  # what it declares of its own must be a message
    for name, account in cls.accounts.items():
        known = [f.name for fork in cls.forks or ("",) for f in account_fields(name, schema_of(cls, fork))]
        named = account.fields()
        for problem, fields in (
            ("not accounted for", set(known) - set(named)),
            ("no such field", set(named) - set(known)),
            ("accounted for twice", {f for f in named if named.count(f) > 1}),
        ):
            if fields:
                raise ValueError(f"layer type {cls.type}, {name}: {problem}: {', '.join(sorted(fields))}")
    if cls.forks:
        FORK_REGISTRY[cls.type] = (*FORK_REGISTRY.get(cls.type, ()), cls())
    else:
        REGISTRY[cls.type] = cls()
    return cls


def every_layer() -> list[Layer]:
    """Return all types: Caffe's by name, then those of forks."""
    return [
        *(REGISTRY[name] for name in sorted(REGISTRY)),
        *(layer for name in sorted(FORK_REGISTRY) for layer in FORK_REGISTRY[name]),
    ]


def candidates(type_: str) -> tuple[Layer, ...]:
    """Return what a type's name may mean: Caffe's own first."""
    mine = REGISTRY.get(type_)
    if mine is not None and mine.own:
        return (mine,)
    return (*((mine,) if mine else ()), *FORK_REGISTRY.get(type_, ()))


def schema_of(layer: Layer | type[Layer], fork: str) -> Schema:
    """Return what a layer type's fork, or the type itself if it is the user's own, adds to Caffe's messages."""
    if layer.own:
        return {"LayerParameter": own_message(layer.type, layer.own)}
    return FORKS[fork].additions if fork else {}


def parameter_descriptor(name: str, schema: Schema | None = None) -> Descriptor:
    """Return the descriptor of the message field `name` of a layer, Caffe's or the schema's."""
    added = (schema or {}).get("LayerParameter")
    found = pb.LayerParameter.DESCRIPTOR.fields_by_name.get(name)
    if found is None and added is not None:
        found = added.DESCRIPTOR.fields_by_name.get(name)
    if found is None or found.message_type is None:
        raise ValueError(f"LayerParameter has no message {name}")
    return cast("Descriptor", found.message_type)


def account_fields(name: str, schema: Schema) -> list[Any]:
    """Return the fields an account of the message `name` must name: its own and those added to it."""
    descriptor = parameter_descriptor(name, schema)
    added = schema.get(descriptor.name) if name in pb.LayerParameter.DESCRIPTOR.fields_by_name else None
    return [*descriptor.fields, *(added.DESCRIPTOR.fields if added else ())]


def rejections(layer: Layer, spec: LayerSpec) -> Iterator[CaffeCompatError]:
    """Yield an error for every field that the account rejects and that is set to another value than its default."""
    for name, account in layer.accounts.items():
        message: Message = spec.message(name)
        for fld, missing in account.rejected.items():
            value = getattr(message, fld)
            if value != message.DESCRIPTOR.fields_by_name[fld].default_value and value:
                yield spec.error(f"not supported: {missing}", f"{name}.{fld}", value)


def count(shape: Sequence[int]) -> int:
    """Return the number of elements of a shape (1 for a scalar)."""
    return math.prod(shape)


def constant(value: float = 0.0) -> pb.FillerParameter:
    """Return a constant filler."""
    return pb.FillerParameter(type="constant", value=value)
