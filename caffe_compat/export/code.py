"""Python code of modules: the call that constructs one, and the source of the classes that torch does not have."""

from __future__ import annotations

import ast
import dataclasses
import enum
import inspect
import json
import math
import symtable
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import Any

import torch
from torch import nn

_LINE = 120
_SKIPPED = frozenset({"device", "dtype"})


class NotPortableError(Exception):
    """Raised for an object that cannot be written as code that needs torch alone."""


@dataclass
class Sources:
    """Definitions that generated code needs by name, each after those it needs itself."""

    imports: set[str] = field(default_factory=set)
    definitions: dict[str, str] = field(default_factory=dict)
    origins: dict[str, object] = field(default_factory=dict)
    """The object of each definition."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Name of each object that cannot be written -> reason."""

    def add(self, thing: type | FunctionType) -> None:
        """Add a class or function with everything it names; refuse what needs more than torch."""
        name = thing.__name__
        if name in self.reasons:
            raise NotPortableError(self.reasons[name])
        if not self._is_new(name, thing):
            return
        try:
            source = textwrap.dedent(_source_of(thing)).rstrip()
            self._define(name, source, sys.modules[thing.__module__])
        except NotPortableError as error:
            self.reasons[name] = str(error)
            raise

    def _is_new(self, name: str, value: object) -> bool:
        """Tell whether a name is not defined yet, and note its object."""
        if name in self.origins and self.origins[name] is not value:
            raise NotPortableError(f"two definitions have the name {name}")
        is_new = name not in self.origins
        self.origins[name] = value
        return is_new

    def _define(self, name: str, source: str, scope: ModuleType) -> None:
        for used in sorted(set(_global_names(symtable.symtable(source, name, "exec")))):
            if used in vars(scope):
                self._add_name(used, vars(scope)[used], scope)
        self.definitions[name] = source

    def _add_name(self, name: str, value: object, scope: ModuleType) -> None:
        """Add the definition of a name of a module: an import, a class or function, or a constant."""
        statement, origin = _import_of(name, scope)
        package = origin.partition(".")[0]
        if package in {"torch", *sys.stdlib_module_names}:
            self.imports.add(statement)
        elif isinstance(value, ModuleType) or _owner(package) not in {"", _owner(scope.__name__)}:
            raise NotPortableError(f"its code needs {origin}")
        elif inspect.isclass(value) or inspect.isfunction(value):
            self.add(value)
        elif origin:
            home = sys.modules[origin]
            self._add_name(name, vars(home)[name], home)
        elif self._is_new(name, value):
            self._define(name, _assignment_of(name, scope), scope)

    def constructor(self, module: nn.Module) -> tuple[str, list[str]]:
        """Return the class and the arguments that construct a module equal to this one, apart from its values."""
        kind = type(module)
        is_torchs = kind.__module__.startswith("torch.nn.")
        if not is_torchs:
            self.add(kind)
        name = f"nn.{kind.__name__}" if is_torchs else kind.__name__
        arguments = dict(_arguments(module))
        _require_same(module, kind, arguments)
        parts = []
        for parameter in _parameters(kind):
            value = arguments.get(parameter.name, parameter.default)
            if _plain(value) == parameter.default and type(_plain(value)) is type(parameter.default):
                continue
            text = self.literal(_plain(value) if is_torchs else value)
            required = parameter.default is parameter.empty and parameter.kind is not parameter.KEYWORD_ONLY
            parts.append(text if required else f"{parameter.name}={text}")
        return name, parts

    def literal(self, value: object) -> str:
        """Return the expression of a value."""
        if isinstance(value, nn.Module):
            name, parts = self.constructor(value)
            return f"{name}({', '.join(parts)})"
        if isinstance(value, enum.Enum):
            self.add(type(value))
            return f"{type(value).__name__}.{value.name}"
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            self.add(type(value))
            fields = (f"{f.name}={self.literal(getattr(value, f.name))}" for f in dataclasses.fields(value))
            return f"{type(value).__name__}({', '.join(fields)})"
        if isinstance(value, tuple):
            return f"({', '.join(map(self.literal, value))}{',' * (len(value) == 1)})"
        if isinstance(value, list):
            return f"[{', '.join(map(self.literal, value))}]"
        if isinstance(value, str):
            return json.dumps(value)
        if isinstance(value, float) and not math.isfinite(value):
            return f'float("{value}")'
        if value is None or isinstance(value, bool | int | float):
            return repr(value)
        raise NotPortableError(f"a value of type {type(value).__name__} cannot be written")


def _owner(module: str) -> str:
    """Return the package whose code a module is; the engine's errors are in a package below it."""
    package = module.partition(".")[0]
    return "caffe_compat" if package == "caffe_compat_base" else package


def _global_names(table: symtable.SymbolTable) -> Iterator[str]:
    """Yield the names that code takes from its module."""
    for symbol in table.get_symbols():
        is_global = not symbol.is_assigned() if table.get_type() == "module" else symbol.is_global()
        if is_global and symbol.is_referenced():
            yield symbol.get_name()
    for child in table.get_children():
        yield from _global_names(child)


def _source_of(thing: type | FunctionType | ModuleType) -> str:
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):
        raise NotPortableError(f"{thing.__name__} has no source of its own") from None


def _assignment_of(name: str, scope: ModuleType) -> str:
    """Return the statement that gives a module's constant its value."""
    source = _source_of(scope)
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return ast.get_source_segment(source, node) or ""
    raise NotPortableError(f"{name} has no source of its own")


def _import_of(name: str, scope: ModuleType) -> tuple[str, str]:
    """Return the statement that imports a name into a module, and the module it comes from; "" where it is its own."""
    for node in ast.parse(_source_of(scope)).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name.partition(".")[0]) == name:
                    short = ast.unparse(type(node)(**{**vars(node), "names": [alias]}))
                    return short, alias.name if isinstance(node, ast.Import) else node.module or ""
    return "", ""


def _parameters(kind: type[nn.Module]) -> list[inspect.Parameter]:
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    return [p for p in parameters if p.name not in _SKIPPED and p.kind not in {p.VAR_POSITIONAL, p.VAR_KEYWORD}]


def _arguments(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield the arguments of a module's constructor, which it keeps as attributes of their names."""
    for parameter in _parameters(type(module)):
        if not hasattr(module, parameter.name):
            raise NotPortableError(f"{type(module).__name__} does not keep its argument {parameter.name}")
        value = getattr(module, parameter.name)
        if parameter.name in module._parameters:  # whether there is such a parameter, as in Conv2d(bias=True)
            value = value is not None
        yield parameter.name, tuple(value.shape) if isinstance(value, torch.Tensor) else value


def _require_same(module: nn.Module, kind: type[nn.Module], arguments: dict[str, Any]) -> None:
    """Refuse a module that was changed after its construction."""
    try:
        with torch.device("meta"):
            twin = kind(**arguments)
        mine, theirs = ({key: value for key, value in vars(m).items() if key[0] != "_"} for m in (module, twin))
        is_same = mine | {"training": None} == theirs | {"training": None}
    except Exception as error:  # it runs any code of the module
        raise NotPortableError(f"{kind.__name__} cannot be constructed again: {error}") from error
    if not is_same:
        raise NotPortableError(f"{kind.__name__} was changed after its construction")


def _plain(value: object) -> object:
    """Return a number for a tuple of equal numbers, as torch's constructors take it."""
    if isinstance(value, tuple) and len(value) > 1 and len(set(value)) == 1 and isinstance(value[0], int):
        return value[0]
    return value


def call(head: str, parts: Sequence[str], indent: int, *, brackets: str = "()") -> Iterator[str]:
    """Yield the lines of a call, or of a list or dict display (`brackets`), broken as ruff's formatter breaks them."""
    opening, closing, space = brackets[0], brackets[1], " " * indent
    content, inner = ", ".join(parts), " " * (indent + 4)
    if len(line := f"{space}{head}{opening}{content}{closing}") <= _LINE:
        yield line
        return
    yield f"{space}{head}{opening}"
    if len(inner + content) <= _LINE and brackets == "()":
        yield inner + content
    else:
        yield from (f"{inner}{part}," for part in parts)
    yield f"{space}{closing}"
