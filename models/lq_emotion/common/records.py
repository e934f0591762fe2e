"""Results as frozen dataclasses: written as JSON objects, and read back with every value checked."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Self, Union, get_args, get_origin, get_type_hints


@dataclass(frozen=True, eq=False)
class Record:
    """Base of frozen dataclasses that are stored as JSON objects, with a key for each field.

    Fields are numbers, strings, booleans, literals, enums, paths, other records, ``X | None``, ``tuple[X, ...]``,
    ``tuple[X, Y]`` and ``Mapping[K, X]``.
    """

    def to_json(self) -> dict[str, Any]:
        """Return the object of a JSON file, its keys in the order of the fields."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(type(self))}

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what `to_json` returned; a key that is missing takes the field's default, an unknown key is skipped.

        A missing key without a default is a KeyError, a value of another type than the field a TypeError or ValueError.
        """
        if not isinstance(value, dict):
            raise TypeError(f"expected an object, got {type(value).__name__}")
        hints = get_type_hints(cls)
        present = [field for field in fields(cls) if field.name in value]
        required = {field.name for field in fields(cls) if field.default is field.default_factory is MISSING}
        for name in required - value.keys():
            raise KeyError(name)
        return cls(**{field.name: _typed(hints[field.name], value[field.name], field.name) for field in present})


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_json()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path | Enum) else value


def _typed(hint: Any, value: Any, name: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return None if value is None else _typed(arguments[0], value, name)
    if origin is frozenset:
        return frozenset(_expect(list, value, name))
    if origin is tuple:
        items = _expect(list, value, name)
        kinds = arguments[:1] * len(items) if arguments[-1] is ... else arguments
        if len(kinds) != len(items):
            raise ValueError(f"{name} has {len(items)} items, expected {len(kinds)}")
        return tuple(_typed(kind, item, name) for kind, item in zip(kinds, items, strict=True))
    if origin is Literal:
        if value not in arguments:
            raise ValueError(f"{name} is {value!r}, expected one of {', '.join(map(repr, arguments))}")
        return value
    if origin is not None and issubclass(origin, Mapping):
        items = _expect(dict, value, name).items()
        return {arguments[0](key): _typed(arguments[1], item, f"{name}.{key}") for key, item in items}
    if issubclass(hint, Record):
        return hint.from_json(value)
    if issubclass(hint, Enum | Path):
        return hint(_expect(str, value, name))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return _expect(hint, value, name)


def _expect(kind: type, value: Any, name: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"{name} is of type {type(value).__name__}, expected {kind.__name__}")
    return value
