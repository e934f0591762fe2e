"""The layer contract: the declarations of a Caffe layer type, and the registry of all types.

A type is one stateless class, registered once. It declares how many bottoms and tops it takes, an account of every
field of the messages it reads, the shapes of its tops, its blobs in Caffe's order, and the torch module for it.
``register`` refuses a type whose account leaves out a field of the schema: nothing in a prototxt is skipped unseen.

Types that forks of Caffe added have a registry of their own, each under its forks.
:mod:`caffe_compat.layers.resolve` decides which type a layer of a net has.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from caffe_compat.definition.carry import layer_error
from caffe_compat.definition.forks import FORKS, Schema
from caffe_compat.errors import CaffeCompatError, Code, NetError
from caffe_compat.formats.extras import where
from caffe_compat.layers.custom_params import Defaults, own_message
from caffe_compat.layers.facts import (
    Coordinates,
    Drawing,
    Evidence,
    Gradient,
    Memories,
    OnnxWriter,
    Reads,
    Source,
    View,
)
from caffe_compat.layers.functions import Function
from caffe_compat.schema import caffe_pb2 as pb

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Arity:
    """A number of blobs or axes: `low` to `high`, no upper bound where `high` is None."""

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
    """The treatment of each field of a message by a layer type.

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


ENGINE = {"engine": "chooses among kernels that compute the same"}
"""The account of fields that choose one of Caffe's implementations."""


@dataclass(frozen=True)
class BlobDef:
    """One parameter blob of a layer, an attribute `name` of the torch module."""

    name: str
    shape: Shape
    """Caffe's shape."""
    filler: pb.FillerParameter
    """Caffe's distribution of its first values."""
    transposed: bool = False
    """The torch module has the transpose (2-d only)."""
    buffer: bool = False
    """A statistic that no solver moves, not a parameter."""

    def to_torch(self, blob: torch.Tensor) -> torch.Tensor:
        """Return Caffe's blob in the form of the torch module."""
        return blob.t() if self.transposed else blob

    def to_caffe(self, value: torch.Tensor) -> torch.Tensor:
        """Return the module's tensor as Caffe's blob."""
        return value.t() if self.transposed else value


@dataclass(frozen=True)
class LayerSpec:
    """One layer of a net with the shapes of its bottoms: the argument of a layer type's methods."""

    param: pb.LayerParameter
    """The layer's message (current format)."""
    bottoms: tuple[Shape, ...]
    phase: str = "TEST"
    fork: str = ""
    """The fork the layer type is of; "" for Caffe's own."""
    schema: Schema = field(default_factory=dict)
    """The fields that this fork, or a type of the user's own, adds to Caffe's messages."""
    added: Mapping[str, Message] = field(default_factory=dict)
    """The values of those additions, by path of the message ("" is the layer itself)."""

    def message(self, name: str) -> Any:
        """Return the layer's message `name`, of Caffe or of the fork; defaults where it is not given."""
        if name in pb.LayerParameter.DESCRIPTOR.fields_by_name:
            return getattr(self.param, name)
        return getattr(self.additions(""), name)

    def additions(self, path: str) -> Any:
        """Return the additions to the message at `path` ("" is the layer itself); defaults where nothing is given."""
        owner = getattr(self.param, path) if path else self.param
        return self.added.get(path) or self.schema[owner.DESCRIPTOR.name]()

    def error(
        self, problem: str, field: str | None = None, value: object = None, hint: str | None = None, *, code: Code
    ) -> NetError:
        """Return an error that names this layer and where it was read from."""
        return layer_error(self.param, problem, field, value, hint, code=code)

    def file(self, name: str) -> Path:
        """Return the path of a file that the layer names: in the working directory, or next to the definition."""
        path, place = Path(name), where(self.param)
        return path if place is None or path.exists() else Path(place.file).parent / path

    def value(self, field: str) -> Any:
        """Return the value of a field by its path, e.g. "pooling_param.pad"; Caffe's or an addition."""
        head, *names = field.split(".")
        message = self.message(head)
        for name in names:
            known = name in message.DESCRIPTOR.fields_by_name
            message = getattr(message if known else self.additions(head), name)
        return message if isinstance(message, str) or not isinstance(message, Sequence) else list(message)

    def fault(self, problem: str, field: str, hint: str | None = None, *, code: Code = "out-of-range") -> NetError:
        """Return an error about the value of a field, which is given by its path."""
        return self.error(problem, field, self.value(field), hint, code=code)

    def misfit(self, problem: str, shapes: object = None, hint: str | None = None) -> NetError:
        """Return an error about the shapes of the bottoms."""
        return self.error(problem, "bottom", shapes, hint, code="shape-mismatch")

    def axis(self, field: str, bottom: int = 0) -> int:
        """Return the axis in a field, counted from the front as by Caffe's CanonicalAxisIndex."""
        axis, rank = self.value(field), len(self.bottoms[bottom])
        if not -rank <= axis < rank:
            raise self.fault(f"the bottom has {rank} axes", field, f"{-rank} to {rank - 1}")
        return int(axis % rank)

    def ranks(self, low: int, high: int | None) -> Iterator[CaffeCompatError]:
        """Yield an error unless the first bottom has `low` to `high` axes.

        Caffe has old names (num to width) for four axes; layers that use the names refuse more.
        """
        if not (allowed := Arity(low, high)).allows(len(self.bottoms[0])):
            yield self.misfit(f"the bottom must have {allowed} axes", self.bottoms[0])

    def at_least_one(self, message: str, *fields: str) -> Iterator[CaffeCompatError]:
        """Yield an error for each of these fields of a message whose value is below 1."""
        for path in (f"{message}.{name}" for name in fields):
            if self.value(path) < 1:
                yield self.fault("must be positive", path)

    def only_apart(self) -> Iterator[CaffeCompatError]:
        """Yield an error if the layer works in place: a top has the name of a bottom."""
        for top in set(self.param.top) & set(self.param.bottom):
            yield self.error("cannot work in place", "top", top, "give the top another name", code="unsupported")


class Layer:
    """Base of every layer type; subclasses override what differs."""

    type: ClassVar[str]
    summary: ClassVar[str] = ""
    bottoms: ClassVar[Arity] = exactly(1)
    tops: ClassVar[Arity] = exactly(1)
    accounts: ClassVar[Mapping[str, Account]] = {}
    is_loss: ClassVar[bool] = False
    forks: ClassVar[tuple[str, ...]] = ()
    """The forks a type is of, where it is not Caffe's own; names of :data:`caffe_compat.definition.forks.FORKS`."""
    last_resort: ClassVar[bool] = False
    """Whether a fork's type is taken only where its fork is named, or no other type fits."""
    origin: ClassVar[str] = ""
    """Of a fork's type, the file in the fork's repository that the type follows."""
    evidence: ClassVar[Evidence | None] = None
    """Of a fork's type, the reference that it was checked against."""
    own: ClassVar[Mapping[str, Defaults]] = {}
    """Parameters of a type of the user's own: message name -> field -> default (docs/own_layers.md)."""
    inference: ClassVar[bool] = True
    """Whether the layer has a place in a net made for inference (losses, metrics and Silence have none)."""
    has_effect: ClassVar[bool] = False
    """Whether the layer does something besides making tops, so that it runs where it has none."""
    source: ClassVar[Source] = Source.NONE
    """Where the tops come from, if from outside the net."""
    is_result: ClassVar[bool] = False
    """Whether the tops are results for people or programs, so that no layer need read them."""
    open_axis: ClassVar[int | None] = None
    """The axis of the tops whose size depends on values; `top_shapes` states a possible one."""
    identity_in_test: ClassVar[bool] = False
    """Whether the layer passes its bottom on unchanged in the phase TEST."""
    only_statistics: ClassVar[bool] = False
    """Whether all its blobs are statistics, which have no learning rate."""
    is_affine: ClassVar[bool] = False
    """Whether the layer learns the scale or the shift that BatchNorm leaves to the next layer."""

    # The memory of blobs: facts from Caffe's code, which matter where layers work in place.
    view: ClassVar[View] = View.NONE
    """The memory that the tops share with the first bottom."""
    keeps_values: ClassVar[bool] = False
    """Whether every value of a top is a value of a bottom: labels stay labels."""
    keeps_sign: ClassVar[bool] = False
    """Whether values keep their signs, so that a ReLU in place above still sees where it let values pass."""
    reads: ClassVar[Reads] = Reads.NOTHING
    """The values that the backward pass reads; see `in_place_fault` for a layer in place."""
    rereads_in_place: ClassVar[bool] = False
    """Whether in place the gradient is that at the values in memory when the net goes backward."""
    in_place_fault: ClassVar[str] = ""
    """Why Caffe computes a wrong gradient where the layer works in place."""
    clears_in_place: ClassVar[bool] = False
    """Whether Caffe's values are wrong in place, too: the top is cleared before the bottom is read."""
    free_outputs: ClassVar[tuple[builtins.type[torch.nn.Module], ...]] = ()
    """Modules of the layer whose output may be overwritten: memory of its own, which their backward does not read."""

    # Gradients: facts from Caffe's Backward_cpu and AllowForceBackward.
    gradient: ClassVar[Gradient] = Gradient.PASSES
    """The use of the tops' gradients."""
    no_gradient: ClassVar[tuple[int, ...]] = ()
    """The bottoms to which no gradient passes: Caffe ends where the gradient of such a bottom is needed."""
    ignores_propagate_down: ClassVar[bool] = False
    """Whether the backward pass writes the bottoms' gradients even if nothing needs them."""
    unforced: ClassVar[int | None] = None
    """The bottom that force_backward leaves out."""
    always_learns: ClassVar[bool] = False
    """Whether the gradients of all parameters are computed, whatever their lr_mult."""

    # What lint and drawings show.
    weight_message: ClassVar[str] = ""
    """The message with the layer's weight_filler, and its bias_term if there can be a bias."""
    unsuited_scores: ClassVar[Mapping[str, str]] = {}
    """For a loss, layer types that should not make its first bottom, each with the reason."""
    coordinates: ClassVar[Coordinates] = Coordinates.NONE
    """The map from the coordinates of the top to those of the bottom."""
    drawing: ClassVar[Drawing] = Drawing()
    """Colour and extras in drawings of nets."""

    @property
    def is_data(self) -> bool:
        """Tell whether the tops come from outside the net."""
        return self.source is not Source.NONE

    def setup(self, param: pb.LayerParameter) -> None:
        """Complete the message as Caffe's LayerSetUp leaves it (a snapshot has it)."""
        if self.is_loss and not param.loss_weight:
            param.loss_weight.append(1)

    def complete(self, spec: LayerSpec) -> None:
        """Complete the message in place, where that depends on what a fork added to it."""
        self.setup(spec.param)

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        """Yield the faults of the layer's parameters."""
        return iter(())

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        """Return the shapes of the tops."""
        return (spec.bottoms[0],) * len(spec.param.top)

    def blobs(self, spec: LayerSpec) -> tuple[BlobDef, ...]:
        """Return the parameter blobs in Caffe's order."""
        return ()

    def weight_and_bias(
        self, spec: LayerSpec, shape: Shape, *, prefix: str = "", transposed: bool = False
    ) -> tuple[BlobDef, ...]:
        """Return a weight of a shape and, with bias_term, a bias for each output, as `weight_message` has them."""
        message = spec.message(self.weight_message)
        weight = BlobDef(f"{prefix}weight", shape, message.weight_filler, transposed)
        bias = BlobDef(f"{prefix}bias", (message.num_output,), message.bias_filler)
        return (weight, bias) if message.bias_term else (weight,)

    def module(self, spec: LayerSpec) -> torch.nn.Module:
        """Return the module: called with the bottoms, it returns the top (a tuple where the layer has several)."""
        raise NotImplementedError

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        """Write what the layer computes in TEST as ONNX operators; return the values of the tops.

        Raises
        ------
        NetError
            The layer cannot be exported; by default no layer can.
        """
        raise spec.error("cannot be exported to ONNX", "type", self.type, code="unsupported")

    def function(self, spec: LayerSpec) -> Function | None:
        """Return what the layer computes in TEST if it is a function that fast kernels have, else None."""
        return None

    @classmethod
    def states(cls, name: str) -> bool:
        """Tell whether `onnx` or `function` is of the type's own module, not of a base whose module it replaces."""
        first = next(base for base in cls.__mro__ if {name, "module"} & vars(base).keys())
        return name in vars(first) and first is not Layer

    def macs(self, spec: LayerSpec) -> int:
        """Return the multiply-accumulates of a forward pass: those of matrix products, which torch counts too.

        Biases are left out; layers that work element by element count 0, whatever they compute or learn (neurons,
        Scale, BatchNorm). Every weight of the others takes part once for each place it is applied at: a convolution's
        at every output position, a deconvolution's at every input position, an inner product's in every row, a
        recurrence's in every step and row.
        """
        return 0

    def whole_number_bottoms(self, count: int) -> Sequence[int]:
        """Return the bottoms, of `count`, that must be whole numbers (labels, indices); of a loss all but the first."""
        return range(1, count) if self.is_loss else ()

    def backward_reads(self, param: pb.LayerParameter) -> Reads:
        """Return `reads`, where it depends on the layer's fields."""
        return self.reads

    def top_view(self, param: pb.LayerParameter) -> View:
        """Return `view`, where it depends on the layer's fields or blobs."""
        return self.view

    def writes_unasked(self, param: pb.LayerParameter) -> bool:
        """Return `ignores_propagate_down`, where it depends on the layer's fields."""
        return self.ignores_propagate_down

    def stale_reason(self, param: pb.LayerParameter) -> str:
        """Return why a top overwritten in place is not written anew by the next pass, "" where it is."""
        return ""

    def has_bias(self, param: pb.LayerParameter) -> bool:
        """Tell whether the layer adds a learned bias of one value for each output."""
        return bool(self.weight_message) and getattr(getattr(param, self.weight_message), "bias_term", False)

    def has_inner_layer(self, param: pb.LayerParameter) -> bool:
        """Tell whether Caffe makes another layer inside this one, which its log shows."""
        return False

    def drawn_lines(self, param: pb.LayerParameter) -> list[str]:
        """Return the lines in the layer's box below its name."""
        return [f"({param.type})"]

    def drawn_output(self, param: pb.LayerParameter) -> str:
        """Return the text next to the arrows to the tops."""
        return ""

    # Where Caffe's passes differ from the function and its derivative. Only caffe_compat.pycaffe follows them there:
    # its blobs are in memory as Caffe's are, and scripts read them.

    def caffe_input(self, spec: LayerSpec, bottom: torch.Tensor) -> torch.Tensor:
        """Return a bottom as Caffe's forward pass takes it."""
        return bottom

    def after_forward(self, spec: LayerSpec, memory: Memories) -> None:
        """Leave in the blobs what Caffe's forward pass leaves there in addition to the tops."""

    def caffe_gradients(self, spec: LayerSpec, memory: Memories) -> list[torch.Tensor] | None:
        """Return the bottoms' gradients where Caffe's are not the function's, else None.

        A list shorter than the bottoms has the gradients of the first ones; the rest have none.
        """
        return None

    def scratch_gradient(self, spec: LayerSpec, memory: Memories) -> None:
        """Leave in the first bottom's gradient, if nothing needs it, Caffe's intermediate values for a blob's."""

    def overwrites_gradient(self, spec: LayerSpec, index: int) -> bool:
        """Tell whether Caffe writes the gradient of blob `index` over the last pass's instead of adding to it."""
        return False


class _Unknown(Layer):
    type = ""


_UNKNOWN = _Unknown()

REGISTRY: dict[str, Layer] = {}
"""Caffe's own types, and the user's own."""
FORK_REGISTRY: dict[str, tuple[Layer, ...]] = {}
"""The types of forks, by name; forks may use one name for different types."""


def register(cls: type[Layer]) -> type[Layer]:
    """Add a layer type to the registry (class decorator).

    Raises
    ------
    ValueError
        The type is registered already, or its account misses, repeats or invents a field.
    """
    taken = {fork for layer in FORK_REGISTRY.get(cls.type, ()) for fork in layer.forks}
    if taken & set(cls.forks) or (not cls.forks and cls.type in REGISTRY):
        raise ValueError(f"layer type {cls.type} is registered already")
    if unknown := set(cls.forks) - set(FORKS):
        raise ValueError(f"layer type {cls.type}: no such fork: {', '.join(sorted(unknown))}")
    schema_of(cls, next(iter(cls.forks), ""))  # what it declares of its own must be a message
    for name, account in cls.accounts.items():
        expected = [f.name for fork in cls.forks or ("",) for f in account_fields(name, schema_of(cls, fork))]
        named = account.fields()
        for problem, fields in (
            ("not accounted for", set(expected) - set(named)),
            ("no such field", set(named) - set(expected)),
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
    """Return the types that a name may mean: Caffe's own first."""
    mine = REGISTRY.get(type_)
    if mine is not None and mine.own:
        return (mine,)
    return (*((mine,) if mine else ()), *FORK_REGISTRY.get(type_, ()))


def facts(type_: str) -> Layer:
    """Return the layer type with a name; an unknown name has the default facts.

    Caffe's own type comes first, then the first fork's. For tools that look at layers before a net is built.
    """
    return next(iter(candidates(type_)), _UNKNOWN)


def schema_of(layer: Layer | type[Layer], fork: str) -> Schema:
    """Return what a layer type's fork, or the type itself if it is the user's own, adds to Caffe's messages."""
    if layer.own:
        return {"LayerParameter": own_message(layer.type, layer.own)}
    return FORKS[fork].additions if fork else {}


def parameter_descriptor(name: str, schema: Schema | None = None) -> Descriptor:
    """Return the descriptor of the message field `name` of a layer, Caffe's or the schema's."""
    added = (schema or {}).get("LayerParameter")
    field = pb.LayerParameter.DESCRIPTOR.fields_by_name.get(name)
    if field is None and added is not None:
        field = added.DESCRIPTOR.fields_by_name.get(name)
    if field is None or field.message_type is None:
        raise ValueError(f"LayerParameter has no message {name}")
    return cast("Descriptor", field.message_type)


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
                yield spec.error(f"not supported: {missing}", f"{name}.{fld}", value, code="unsupported")


def count(shape: Sequence[int]) -> int:
    """Return the number of elements of a shape (1 for a scalar)."""
    return math.prod(shape)


def constant(value: float = 0.0) -> pb.FillerParameter:
    """Return a constant filler."""
    return pb.FillerParameter(type="constant", value=value)
