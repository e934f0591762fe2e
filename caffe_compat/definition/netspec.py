"""Write a net in Python: ``n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20)``.

A layer function takes its bottoms (tops of other layers) and its fields as keywords, and returns its tops.
:class:`NetSpec` gives them names; :func:`to_proto` makes the message. Which message a layer's own fields go to is read
from the descriptors: those of type ``T`` to the ``*_param`` whose message is ``TParameter``.
Source of the behaviour: pycaffe's net_spec, BVLC Caffe 9b89154.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from google.protobuf.message import Message

from caffe_compat.definition.forks import FORKS
from caffe_compat.errors import CaffeCompatError, did_you_mean
from caffe_compat.formats.assign import SpecError, assign_proto
from caffe_compat.schema import caffe_pb2 as pb

__all__ = [
    "Function",
    "Layers",
    "NetSpec",
    "Parameters",
    "SpecError",
    "Top",
    "assign_proto",
    "layers",
    "param_name_dict",
    "params",
    "to_proto",
]

LayerFunction: TypeAlias = "Callable[..., Any]"


class UnknownTopError(SpecError, KeyError):
    """Raised for a top that was never assigned: a KeyError for old scripts, an AttributeError for ``hasattr``."""

    __str__ = CaffeCompatError.__str__


def param_name_dict() -> dict[str, str]:
    """Return, by layer type, the name of the field with the layer's own parameters, without ``_param``.

    ``{'Convolution': 'convolution', 'LRN': 'lrn', ...}``, from the names of the messages.
    """
    fields: list[Any] = [f for f in pb.LayerParameter.DESCRIPTOR.fields if f.name.endswith("_param")]
    return {f.message_type.name.removesuffix("Parameter"): f.name.removesuffix("_param") for f in fields}


_param_names = param_name_dict()


def to_proto(*tops: Top | Function) -> pb.NetParameter:
    """Return the net of all layers needed for `tops`, named ``Type1``, ``Type2``, ... in the order they are needed."""
    return _assemble(list(tops), [{} for _ in tops])


def _assemble(tops: Sequence[Top | Function], named: Sequence[dict[Top | Function, str]]) -> pb.NetParameter:
    made: dict[Function, pb.LayerParameter] = {}
    counter: Counter[str] = Counter()
    for top, names in zip(tops, named, strict=True):
        for function in _needed(top, made):
            made[function] = function.message(made, names, counter)
    net = pb.NetParameter()
    net.layer.extend(made.values())
    return net


def _needed(top: Top | Function, made: Mapping[Function, object]) -> Iterator[Function]:
    """Yield the layers that `top` needs and that are not made yet: bottoms first, from left to right."""
    stack: list[tuple[Function, Iterator[Top]]] = []

    def enter(function: Function) -> None:
        if function not in made:
            stack.append((function, iter(function.inputs)))

    enter(top.fn if isinstance(top, Top) else top)
    while stack:
        function, bottoms = stack[-1]
        bottom = next(bottoms, None)
        if bottom is not None:
            enter(bottom.fn)
        else:
            stack.pop()
            if function not in made:
                yield function


class Top:
    """Output number `n` of the layer `fn`."""

    def __init__(self, fn: Function, n: int) -> None:
        self.fn = fn
        self.n = n

    def to_proto(self) -> pb.NetParameter:
        """Return the net of all layers needed for this top."""
        return to_proto(self)


class Function:
    """A layer: its type, bottoms and fields.

    Parameters
    ----------
    type_name : the layer's type, ``'Convolution'``.
    inputs : its bottoms.
    params : its fields; `ntop` (1) and `in_place` (False) among them are taken out. A name that ends in ``param``, and
        one that the layer's own message does not have, is a field of LayerParameter.
    """

    def __init__(self, type_name: str, inputs: Sequence[Top], params: dict[str, Any]) -> None:
        self.type_name = type_name
        for index, bottom in enumerate(inputs):
            if not isinstance(bottom, Top):
                raise TypeError(f"{type_name} input {index} is not a Top (type is {type(bottom)})")
        self.inputs = tuple(inputs)
        self.params = params
        self.ntop: int = params.pop("ntop", 1)
        self.in_place: bool = params.pop("in_place", False)
        self.tops = tuple(Top(self, n) for n in range(self.ntop))

    def message(
        self, made: Mapping[Function, pb.LayerParameter], names: dict[Top | Function, str], counter: Counter[str]
    ) -> pb.LayerParameter:
        """Return the layer, given the messages of the layers below it and the names assigned so far."""

        def auto() -> str:
            counter[self.type_name] += 1
            return f"{self.type_name}{counter[self.type_name]}"

        layer = pb.LayerParameter(type=self.type_name)
        for bottom in self.inputs:
            below = made[bottom.fn].top
            if bottom.n >= len(below):
                problem = f"has {len(below)} tops in place, got a reader of top {bottom.n}"
                raise SpecError(problem, code="out-of-range", layer=made[bottom.fn].name)
            layer.bottom.append(below[bottom.n])
        if self.in_place:
            layer.top.extend(layer.bottom)
        else:
            for top in self.tops:
                if top not in names:
                    names[top] = auto()
                layer.top.append(names[top])
        named: Top | Function = self.tops[0] if self.tops and self not in names else self
        if named not in names:
            names[named] = auto()
        layer.name = names[named]
        for name, value in self.params.items():
            self._assign(layer, name, value)
        return layer

    def _assign(self, layer: pb.LayerParameter, name: str, value: Any) -> None:
        own = _param_names.get(self.type_name)
        message = None if own is None else getattr(layer, f"{own}_param")
        try:
            if message is not None and not name.endswith("param") and name in message.DESCRIPTOR.fields_by_name:
                assign_proto(message, name, value)
            elif name in layer.DESCRIPTOR.fields_by_name:
                assign_proto(layer, name, value)
            else:
                raise SpecError(
                    "unknown field", code="field-unknown", field=name, value=value, hint=self._hint(layer, name)
                )
        except CaffeCompatError as error:
            error.layer = layer.name
            error.field = f"{self.type_name}: {error.field}"
            raise

    def _hint(self, layer: pb.LayerParameter, name: str) -> str | None:
        """Suggest where an unknown field may belong."""
        added = {fork: schema.additions.get("LayerParameter") for fork, schema in FORKS.items()}
        added_by = [fork for fork, adds in added.items() if adds and name in adds.DESCRIPTOR.fields_by_name]
        if added_by:
            return f"a field of {' and '.join(added_by)}, not of Caffe 1.0: write this layer in prototxt"
        own = _param_names.get(self.type_name)
        names = {field.name for field in layer.DESCRIPTOR.fields}
        if own is not None:
            names |= {field.name for field in getattr(layer, f"{own}_param").DESCRIPTOR.fields}
            return did_you_mean(name, names)
        homes = [
            field.name
            for field in layer.DESCRIPTOR.fields
            if field.message_type is not None
            and field.name.endswith("_param")
            and name in field.message_type.fields_by_name
        ]
        if homes and name not in names:
            return f"no message is named after this type: write {' or '.join(f'{h}=dict({name}=...)' for h in homes)}"
        return did_you_mean(name, names)


class NetSpec:
    """A net whose tops have the names under which they are assigned, as attributes or items."""

    tops: dict[str, Any]

    def __init__(self) -> None:
        super().__setattr__("tops", OrderedDict())

    def __setattr__(self, name: str, value: Any) -> None:
        self.tops[name] = value

    def __getattr__(self, name: str) -> Any:
        tops = self.__dict__.get("tops", {})
        if name not in tops:
            raise UnknownTopError(
                "the net has no such top", code="name-unknown", value=name, hint=did_you_mean(name, tops)
            )
        return tops[name]

    def __setitem__(self, key: str, value: Any) -> None:
        self.__setattr__(key, value)

    def __getitem__(self, item: str) -> Any:
        return self.__getattr__(item)

    def to_proto(self) -> pb.NetParameter:
        """Return the net of all layers needed for the tops assigned."""
        for name, top in self.tops.items():
            if not isinstance(top, Top | Function):
                hint = "name each of several tops: n.a, n.b = L.Type(..., ntop=2)"
                raise SpecError(f"has type {type(top)}, expected Top", code="wrong-type", field=name, hint=hint)
        names: dict[Top | Function, str] = {top: name for name, top in self.tops.items()}
        return _assemble(list(self.tops.values()), [names] * len(self.tops))


class Layers:
    """``L``: an attribute for every layer type, a function from bottoms and fields to tops."""

    def __getattr__(self, name: str) -> LayerFunction:
        if name.startswith("__"):  # what inspect, copy and doctest ask of every object
            raise AttributeError(name)

        def layer(*bottoms: Top, **fields: Any) -> Top | Function | tuple[Top, ...]:
            function = Function(name, bottoms, fields)
            if function.ntop == 0:
                return function
            return function.tops[0] if function.ntop == 1 else function.tops

        layer.__name__ = layer.__qualname__ = name
        return layer


class Parameters:
    """``P``: the constants of the messages, ``P.Pooling.MAX``."""

    def __getattr__(self, name: str) -> type[Message]:
        if name.startswith("__"):
            raise AttributeError(name)
        message = getattr(pb, f"{name}Parameter", None)
        if message is None:
            names = [
                m.removesuffix("Parameter") for m in pb.DESCRIPTOR.message_types_by_name if m.endswith("Parameter")
            ]
            raise SpecError(
                f"Caffe has no message {name}Parameter", code="name-unknown", value=name, hint=did_you_mean(name, names)
            )
        return message  # type: ignore[no-any-return]


layers = Layers()
params = Parameters()
