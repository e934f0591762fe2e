"""Compare two nets or solvers field by field, after upgrading both to the current format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from google.protobuf.message import Message

from caffe_compat.definition.upgrade import upgrade_net, upgrade_solver
from caffe_compat.formats.extras import all_unknown_fields, repeated, where
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.tools.diff.comparison import Comparison, Difference

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
        ours, theirs = list(keys[0])[low:high], list(keys[1])[start:end]
        if kind == "equal":
            for key in ours:
                comparison.compared += 1
                mine, others = keys[0][key], keys[1][key]
                comparison.differences += _fields(_place(mine), _values(mine), _values(others))
            continue
        for key in ours:
            moved = "is at another position in the second" if key in keys[1] else "is only in the first"
            comparison.differences.append(Difference(_place(keys[0][key]), f"{keys[0][key].type} {moved}"))
        for key in theirs:
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
    for field, value in message.ListFields():
        name = f"{path}.{field.name}" if path else field.name
        if field.name in without:
            continue
        if field.message_type is None:
            values[name] = _shown(field, value)
        elif repeated(field):
            for index, part in enumerate(value):
                values |= _values(part, f"{name}[{index}]") or {f"{name}[{index}]": "{}"}
        else:
            values |= _values(value, name)
    if not path and not without:
        values |= {
            f"{at}.{field.field}" if at else field.field: field.text for at, field in all_unknown_fields(message)
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
