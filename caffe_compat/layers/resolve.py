"""Resolve a layer type name that Caffe and its forks share.

Nothing is guessed: a type is chosen if it alone has all the fields of the layer, or if its fork was named. Caffe's own
type is chosen wherever the layer has no field that Caffe 1.0 does not know.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from caffe_compat.definition.forks import Schema, clash, forks_with, message_name, read_additions
from caffe_compat.errors import CaffeCompatError, NetError, nearest
from caffe_compat.formats.extras import UnknownField, all_unknown_fields
from caffe_compat.layers.base import (
    FORK_REGISTRY,
    REGISTRY,
    Layer,
    LayerSpec,
    candidates,
    schema_of,
)

UNSUPPORTED = {"DenseCRF": "deeplab", "MatRead": "deeplab", "MatWrite": "deeplab", "Yolov3DetectionOutput": "yolov3"}
"""Types of forks that are not built here, and the fork."""


@dataclass(frozen=True)
class _Reading:
    """A layer read as one type of one fork."""

    layer: Layer
    spec: LayerSpec
    problems: list[CaffeCompatError]
    knows: bool
    """The fork has every field the layer gives that Caffe 1.0 does not have."""
    clashes: str | None
    """In a binary file, a field of Caffe 1.0 whose number is one of the fork's."""


def resolve_type(spec: LayerSpec, named: Sequence[str] = ()) -> tuple[Layer, LayerSpec] | list[CaffeCompatError]:
    """Return a layer's type and its spec with a fork's additions, or the reasons why there is none."""
    possible = candidates(spec.param.type)
    if not possible:
        return [_unknown(spec), *_strangers(spec)]
    readings = [reading for layer in possible for reading in _readings(layer, spec, named)]
    fitting = [r for r in readings if not r.problems]
    meant = sorted((r for r in fitting if r.spec.fork in named), key=lambda r: named.index(r.spec.fork))
    clashing = [_clash(r) for r in readings if r.clashes]
    if meant or clashing:
        return clashing or (meant[0].layer, meant[0].spec)
    fitting = _of_arity(fitting) or fitting
    fitting = [r for r in fitting if not r.layer.last_resort] or fitting
    if len(fitting) > 1 and fitting[0].spec.fork:
        return [_several(fitting)]
    if fitting:
        return fitting[0].layer, fitting[0].spec
    return next((r.problems for r in readings if r.knows), None) or list(_strangers(spec))


def _readings(layer: Layer, spec: LayerSpec, named: Sequence[str]) -> Iterator[_Reading]:
    """Yield the layer read as a type of the forks named, or of the first that has it."""
    for fork in [f for f in layer.forks if f in named] or layer.forks[:1] or [""]:
        schema = schema_of(layer, fork)
        added, problems = read_additions(spec.param, schema)
        knows = all(_has(schema, path, stranger) for path, stranger in all_unknown_fields(spec.param))
        clashes = clash(spec.param, schema, list(layer.accounts)) if fork else None
        read = replace(spec, fork=fork, schema=schema, added=added)
        yield _Reading(layer, read, problems, knows, clashes)


def _has(schema: Schema, path: str, stranger: UnknownField) -> bool:
    added = schema.get(message_name(path))
    return added is not None and stranger.field in added.DESCRIPTOR.fields_by_name


def _clash(reading: _Reading) -> CaffeCompatError:
    fork = reading.spec.fork
    hint = f"name the fork: fork={fork!r}"
    return reading.spec.error(
        f"in a binary file this number may also be a field of {fork}", reading.clashes, hint=hint, code="ambiguous"
    )


def _several(fitting: list[_Reading]) -> CaffeCompatError:
    spec, forks = fitting[0].spec, dict.fromkeys(fork for r in fitting for fork in r.layer.forks)
    problem = "several forks have a layer type of this name, and its fields do not decide which is meant"
    return spec.error(
        problem,
        "type",
        spec.param.type,
        f"name the fork ({', '.join(forks)}), as in fork={spec.fork!r}",
        code="ambiguous",
    )


def _of_arity(readings: list[_Reading]) -> list[_Reading]:
    return [
        r
        for r in readings
        if r.layer.bottoms.allows(len(r.spec.param.bottom)) and r.layer.tops.allows(len(r.spec.param.top))
    ]


def _strangers(spec: LayerSpec) -> Iterator[CaffeCompatError]:
    """Yield an error for every field that Caffe 1.0 does not have, naming the forks that have it."""
    for path, stranger in all_unknown_fields(spec.param):
        error = stranger.error(NetError, layer=spec.param.name)
        forks = forks_with(path, stranger.field)
        if forks:
            error.hint = _hint(stranger, forks, spec.param.type)
        elif stranger.value is None and (near := _near(spec, path, stranger)):
            error.hint = f"did you mean {near!r}?"
        yield error


def _near(spec: LayerSpec, path: str, stranger: UnknownField) -> str | None:
    """Return the field most likely meant, those of the type's forks included."""
    names = set()
    for layer in candidates(spec.param.type):
        for fork in layer.forks or ("",):
            added = schema_of(layer, fork).get(message_name(path))
            names |= set(added.DESCRIPTOR.fields_by_name) if added else set()
    return nearest(stranger.field, names | ({stranger.suggestion} if stranger.suggestion else set()))


def _hint(stranger: UnknownField, forks: Sequence[str], type_: str) -> str:
    if stranger.field.isdecimal():
        return f"the number belongs to a fork: {', '.join(forks)} use it; name the fork, as in fork={forks[0]!r}"
    return f"{', '.join(forks)} has it, but not for a {type_} layer"


def _unknown(spec: LayerSpec) -> NetError:
    type_ = spec.param.type
    if type_ in UNSUPPORTED:
        return spec.error(
            f"not supported: a layer type of the fork {UNSUPPORTED[type_]}", "type", type_, code="unsupported"
        )
    near = nearest(type_, [*REGISTRY, *FORK_REGISTRY])
    hint = "`caffe-compat layers` lists the supported types"
    if near is not None:
        forks = dict.fromkeys(f for layer in FORK_REGISTRY.get(near, ()) for f in layer.forks)
        hint = f"did you mean {near!r}?"
        if near not in REGISTRY:
            hint = f"did you mean {near!r}, of the fork {' or '.join(forks)}?"
    return spec.error("unknown layer type", "type", type_, hint, code="type-unknown")
