"""Find the first difference between two nets, solvers, weights, training logs, or nets run on one input."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from google.protobuf.message import Message

from caffe_compat.build.net import CaffeNet
from caffe_compat.build.weights import read_weights
from caffe_compat.definition.upgrade import upgrade_net, upgrade_solver
from caffe_compat.errors import NetError
from caffe_compat.formats.extras import all_unknown_fields, repeated, where
from caffe_compat.formats.files import read_solverstate
from caffe_compat.layers.hdf5_output import nothing_written
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.tools.feeds import whole_number_blobs
from caffe_compat.tools.logs import read_log

Key = tuple[str, str]


def diff_nets(a: pb.NetParameter, b: pb.NetParameter) -> Comparison:
    """Compare two nets of any version layer by layer, matched by name (and by rules, if phases share a name)."""
    first, second = upgrade_net(a), upgrade_net(b)
    keys = [_keys(net.layer) for net in (first, second)]
    comparison = Comparison("layers")
    if not any(map(len, keys)):
        comparison.compared = 1
    comparison.differences += _fields("net", _values(first, without=("layer",)), _values(second, without=("layer",)))
    matched = SequenceMatcher(None, list(keys[0]), list(keys[1]), autojunk=False)
    for kind, low, high, start, end in matched.get_opcodes():
        for key in list(keys[0])[low:high] if kind != "equal" else ():
            moved = "is at another position in the second" if key in keys[1] else "is only in the first"
            comparison.differences.append(Difference(_place(keys[0][key]), f"{keys[0][key].type} {moved}"))
        for key in list(keys[1])[start:end]:
            if key in keys[0]:
                comparison.compared += 1
                mine, others = keys[0][key], keys[1][key]
                comparison.differences += _fields(_place(mine), _values(mine), _values(others))
            else:
                comparison.differences.append(
                    Difference(_place(keys[1][key]), f"{keys[1][key].type} is only in the second")
                )
    return comparison


def diff_solvers(a: pb.SolverParameter, b: pb.SolverParameter) -> Comparison:
    """Compare two solvers field by field."""
    first, second = _values(upgrade_solver(a)), _values(upgrade_solver(b))
    return Comparison("fields", len(first.keys() | second.keys()), list(_fields("solver", first, second)))


def _keys(layers: Sequence[pb.LayerParameter]) -> dict[Key, pb.LayerParameter]:
    """Return layers by name and rules; repeated keys are numbered."""
    by_key: dict[Key, pb.LayerParameter] = {}
    for layer in layers:
        rules = " ".join(str(rule).strip().replace("\n", " ") for rule in (*layer.include, *layer.exclude))
        key, number = (layer.name, rules), 1
        while key in by_key:
            number += 1
            key = (layer.name, f"{rules} #{number}")
        by_key[key] = layer
    return by_key


def _place(layer: pb.LayerParameter) -> str:
    at = where(layer)
    return f"layer {layer.name!r}" + (f" ({at.file}:{at.line})" if at else "")


def _values(message: Message, path: str = "", without: Sequence[str] = ()) -> dict[str, Any]:
    """Return path -> value of every field that is set, including fields unknown to Caffe 1.0."""
    values: dict[str, Any] = {}
    for described, value in message.ListFields():
        name = f"{path}.{described.name}" if path else described.name
        if described.name in without:
            continue
        if described.message_type is None:
            values[name] = _shown(described, value)
        elif repeated(described):
            for index, part in enumerate(value):
                values |= _values(part, f"{name}[{index}]") or {f"{name}[{index}]": "{}"}
        else:
            values |= _values(value, name)
    if not path and not without:
        values |= {
            f"{at}.{unknown.field}" if at else unknown.field: unknown.text
            for at, unknown in all_unknown_fields(message)
        }
    return values


def _shown(field: Any, value: Any) -> Any:
    def one(item: Any) -> Any:
        return field.enum_type.values_by_number[item].name if field.enum_type else item

    return [one(item) for item in value] if repeated(field) else one(value)


def _fields(place: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Difference]:
    for name in dict.fromkeys([*a, *b]):
        if a.get(name) != b.get(name):
            first, second = (repr(side[name]) if name in side else "not set" for side in (a, b))
            yield Difference(f"{place}: {name}", f"{_cut(first)} and {_cut(second)}")


def _cut(text: str) -> str:
    return text if len(text) <= 100 else text[:97] + "..."


@dataclass(frozen=True)
class Difference:
    """A difference between the two sides, in a layer, blob, field or iteration."""

    where: str
    problem: str
    """It has both values if they are short."""
    max_abs: float = math.nan
    """For arrays, the largest difference; else nan."""
    max_rel: float = math.nan
    """It, relative to the largest magnitude."""
    count: int = 0
    """Number of values that differ, of `size`."""
    size: int = 0


@dataclass
class Comparison:
    """A comparison of two nets, files or runs, with differences in the order of the first side."""

    what: str
    """The unit of comparison, in the plural ("layers", "blobs")."""
    compared: int = 0
    """Number of units on both sides."""
    differences: list[Difference] = field(default_factory=list)
    largest: float = 0.0
    """The largest difference of all units, relative to the largest magnitude, also within tolerance."""

    @property
    def first(self) -> Difference | None:
        """Return the first difference, or None."""
        return self.differences[0] if self.differences else None

    def array(self, where: str, a: npt.NDArray[Any], b: npt.NDArray[Any], tolerance: float) -> None:
        """Compare two arrays; NaN equals NaN. `tolerance` is relative to the largest magnitude of both."""
        self.compared += 1
        if a.shape != b.shape:
            self.differences.append(Difference(where, f"shape {_x(a.shape)} and {_x(b.shape)}"))
            return
        a, b = a.astype(np.float64), b.astype(np.float64)
        with np.errstate(invalid="ignore"):
            distance = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
        distance = np.where(np.isnan(distance), np.inf, distance)
        largest = float(distance.max(initial=0.0))
        magnitude = float(np.abs(np.concatenate([a[np.isfinite(a)], b[np.isfinite(b)]])).max(initial=0.0))
        relative = largest / magnitude if magnitude else math.inf if largest else 0.0
        self.largest = max(self.largest, relative)
        if relative <= tolerance:
            return
        at = np.unravel_index(int(distance.argmax()), distance.shape) if distance.ndim else ()
        place = f" at [{', '.join(map(str, at))}]" if at else ""
        count = int((distance > 0).sum())
        problem = f"{count} of {a.size} values differ, by up to {largest:.6g} ({relative:.3g} of the largest){place}: "
        problem = (problem if a.size > 1 else "") + f"{float(a[at]):.9g} and {float(b[at]):.9g}"
        self.differences.append(Difference(where, problem, largest, relative, count, int(a.size)))


def _x(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


Blobs = Mapping[str, Sequence["npt.NDArray[Any] | None"]]


def diff_weights(
    a: str | PathLike[str] | Blobs, b: str | PathLike[str] | Blobs, *, tolerance: float = 0.0
) -> Comparison:
    """Compare two files of weights by layer name; `tolerance` is relative to the largest magnitude of a blob."""
    first, second = (side if isinstance(side, Mapping) else read_weights(side) for side in (a, b))
    comparison = Comparison("blobs")
    for name in dict.fromkeys([*first, *second]):
        if not (first.get(name) or second.get(name)):
            continue
        where = f"layer {name!r}"
        if name not in first or name not in second:
            comparison.differences.append(Difference(where, f"is only in the {'first' if name in first else 'second'}"))
            continue
        mine, others = first[name], second[name]
        if len(mine) != len(others):
            comparison.differences.append(Difference(where, f"{len(mine)} blobs and {len(others)}"))
        for index, (value, other) in enumerate(zip(mine, others, strict=False)):
            if value is not None and other is not None:
                comparison.array(f"{where}: blobs[{index}]", value, other, tolerance)
    return comparison


def diff_states(a: str | PathLike[str], b: str | PathLike[str], *, tolerance: float = 0.0) -> Comparison:
    """Compare two solver states; `tolerance` is relative to the largest magnitude of an array."""
    first, second = read_solverstate(a), read_solverstate(b)
    comparison = Comparison("arrays")
    for name in ("iter", "current_step"):
        value, other = getattr(first, name), getattr(second, name)
        if value != other:
            comparison.differences.append(Difference(name, f"{value} and {other}"))
    if len(first.history) != len(second.history):
        comparison.differences.append(Difference("history", f"{len(first.history)} arrays and {len(second.history)}"))
    for index, (value, other) in enumerate(zip(first.history, second.history, strict=False)):
        comparison.array(f"history[{index}]", value, other, tolerance)
    return comparison


def diff_logs(a: str | PathLike[str], b: str | PathLike[str], *, tolerance: float = 0.0) -> Comparison:
    """Compare the numbers of two training logs, which have six digits, but for times."""
    first, second = read_log(a), read_log(b)
    others = {entry.key: entry for entry in second}
    comparison = Comparison("numbers")
    for entry in first:
        other = others.get(entry.key)
        if other is not None:
            comparison.array(entry.description, np.array(entry.value), np.array(other.value), tolerance)
    keys = {entry.key for entry in first}
    for name, alone in (
        ("first", [e for e in first if e.key not in others]),
        ("second", [e for e in second if e.key not in keys]),
    ):
        if alone:
            problem = (
                f"only in the {name}, with {len(alone) - 1} more numbers" if len(alone) > 1 else f"only in the {name}"
            )
            comparison.differences.append(Difference(alone[0].description, problem))
    return comparison


def seeded_inputs(net: CaffeNet, seed: int) -> dict[str, torch.Tensor]:
    """Return normally distributed values for every input, determined by its shape and the seed."""
    whole = whole_number_blobs(net.caffe)
    values = {}
    for blob in net.caffe.inputs:
        shape = net.caffe.shapes[blob]
        generator = torch.Generator().manual_seed(seed)
        values[blob] = torch.zeros(shape) if blob in whole else torch.randn(shape, generator=generator)
    return values


def diff_nets_on_input(
    a: CaffeNet, b: CaffeNet, *, inputs: Mapping[str, torch.Tensor] | None = None, seed: int = 0, tolerance: float = 0.0
) -> Comparison:
    """Run two nets on one input, by default drawn from `seed` with labels and indices 0, and compare every blob.

    `tolerance` is relative to the largest magnitude of a blob. HDF5Output layers write nothing.
    """
    for blob in dict.fromkeys([*a.caffe.inputs, *b.caffe.inputs]):
        shapes = [net.caffe.shapes.get(blob) if blob in net.caffe.inputs else None for net in (a, b)]
        if shapes[0] != shapes[1]:
            problem = f"input has shape {shapes[0]} in the first net and {shapes[1]} in the second"
            hint = "set the shape with --input"
            raise NetError(problem, code="shape-mismatch", field="inputs", value=blob, hint=hint)
    values = dict(seeded_inputs(a, seed) if inputs is None else inputs)
    blobs = []
    for net in (a, b):
        torch.manual_seed(seed)
        with torch.no_grad(), nothing_written(net):
            blobs.append(net.every_blob({name: values[name].clone() for name in net.caffe.inputs}))
    splits = {top for net in (a, b) for node in net.caffe.nodes if node.is_split for top in node.tops}
    comparison = Comparison("blobs")
    made_by = {top: node for net in (b, a) for node in net.caffe.nodes for top in node.tops}
    for name in dict.fromkeys([*blobs[0], *blobs[1]]):
        if name in splits or name in values:
            continue
        where = f"blob {name!r} of layer {made_by[name].name!r} ({made_by[name].type})"
        if name not in blobs[0] or name not in blobs[1]:
            comparison.differences.append(
                Difference(where, f"is only in the {'first' if name in blobs[0] else 'second'}")
            )
            continue
        comparison.array(where, blobs[0][name].numpy(), blobs[1][name].numpy(), tolerance)
    return comparison
