"""Settings: a field of a frozen dataclass is an option of a command, with its type, default, range and help."""

from __future__ import annotations

import argparse
import math
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, Union, get_args, get_origin, get_type_hints

from caffe_compat.errors import DataError
from lq_emotion.common.records import Record

SettingsT = TypeVar("SettingsT", bound="Settings")
_OPTION = "option"
DEVICES = "auto, cpu, cuda or cuda:N"


@dataclass(frozen=True, kw_only=True)
class _Option:
    """An option of a command; limits are those of a number, or of each number of several."""

    help: str = ""
    """One line; the default is added to it."""
    least: float | None = None
    most: float | None = None
    above: float | None = None
    read: Callable[[str], Any] | None = None
    """Reads the text of one value, for types that argparse does not know."""
    metavar: str | tuple[str, ...] | None = None
    group: str = ""
    """Heading in the help."""
    name: str | None = None
    """Name of the option, if it is not that of the field."""
    shown: str | None = None
    """The default in the help, if it is not the value itself."""
    positional: bool = False
    repeated: bool = False
    """The option is given once for each of several values."""
    offered: bool = True
    """The command has the option; otherwise only the range is used."""
    add: Callable[[argparse.ArgumentParser], None] | None = None
    """Adds the options of a value that has several; `collect` makes it of the parsed arguments."""
    collect: Callable[[argparse.Namespace], Any] | None = None


def option(default: Any = MISSING, help: str = "", **about: Any) -> Any:  # noqa: A002
    """Return a field of settings that is an option, too, required without a default; `about` are those of `_Option`."""
    metadata = {_OPTION: _Option(help=help, **about)}
    if isinstance(default, dict):
        return field(default_factory=default.copy, metadata=metadata, kw_only=True)
    return field(default=default, metadata=metadata, kw_only=True)


def device_option(group: str = "") -> Any:
    """Return a field of settings: the device that nets run on; see `common.devices`."""
    return option("auto", DEVICES, group=group)


def cluster_option(group: str = "") -> Any:
    """Return a field of settings: the address of a Dask scheduler."""
    return option(None, "run on a Dask cluster; its scheduler: tcp://host:8786", metavar="ADDRESS", group=group)


class Settings(Record):
    """Base of settings: frozen dataclasses that are refused with a DataError where a value is out of range.

    A field whose type is another class of settings adds that class's options to the command.
    """

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for one in fields(type(self)):
            about, value = one.metadata.get(_OPTION), getattr(self, one.name)
            if about is not None and value is not None and about.add is None:
                _check(one.name, about, hints[one.name], value)

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what `to_json` returned, as `Record.from_json`; a value out of range is a ValueError, too."""
        try:
            return super().from_json(value)
        except DataError as error:
            raise ValueError(str(error)) from None


def _check(name: str, about: _Option, hint: Any, value: Any) -> None:
    kind, _ = _kind(hint, about)
    for item in value if isinstance(value, tuple) else (value,):
        if (problem := _problem(kind, about, item)) is not None:
            raise DataError("out of range", code="out-of-range", field=_flag(name, about), value=item, hint=problem)


def _problem(kind: Any, about: _Option, value: Any) -> str | None:
    """Return what would be accepted in place of a value; None if it is accepted itself."""
    if choices := _choices(kind):
        return None if value in choices else f"use {', '.join(map(str, choices))}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    least, most, above = about.least, about.most, about.above
    low = (least is not None and value < least) or (above is not None and value <= above)
    if not math.isfinite(value) or low or (most is not None and value > most):
        return f"expected {'an integer' if kind is int else 'a number'}{_range(about)}"
    return None


def _range(about: _Option) -> str:
    if about.above is not None:
        return f" above {about.above:g}" + ("" if about.most is None else f", {about.most:g} or less")
    if about.least is None:
        return "" if about.most is None else f", {about.most:g} or less"
    return f", {about.least:g} or more" if about.most is None else f", {about.least:g} to {about.most:g}"


def add_options(parser: argparse.ArgumentParser, settings: type[Settings]) -> None:
    """Add an option for each field of a class of settings that has one."""
    hints = get_type_hints(settings)
    groups: dict[str | None, Any] = {group.title: group for group in parser._action_groups}
    for one in fields(settings):
        about, hint = one.metadata.get(_OPTION), hints[one.name]
        if about is None:
            if _is_settings(hint):
                add_options(parser, hint)
        elif about.add is not None:
            about.add(parser)
        elif about.offered:
            place = groups.setdefault(about.group, None) or parser
            if about.group and place is parser:
                place = groups[about.group] = parser.add_argument_group(about.group)
            _add(place, one, about, hint)


def _add(parser: argparse._ActionsContainer, one: Field[Any], about: _Option, hint: Any) -> None:
    kind, count = _kind(hint, about)
    flag, text = _flag(one.name, about), (about.help + _default(one, about)).replace("%", "%%")
    if kind is bool:
        action = "store_false" if one.default else "store_true"
        parser.add_argument(flag, dest=_dest(one.name, about), action=action, help=about.help)
        return
    options: dict[str, Any] = {"type": _reader(kind, about), "help": text}
    if kind is Mapping:
        options |= {"nargs": "+", "action": "extend"}
    else:
        options |= {"action": "append"} if about.repeated else {"nargs": count}
    options["metavar"] = about.metavar or _placeholder(kind)
    if about.positional:
        parser.add_argument(one.name, **options)
        return
    required, default = one.default is one.default_factory is MISSING, None if about.repeated else _unset(one)
    parser.add_argument(flag, dest=_dest(one.name, about), default=default, required=required, **options)


def settings_of(args: argparse.Namespace, settings: type[SettingsT], **values: Any) -> SettingsT:
    """Return the settings that the arguments of a parser with their options describe; `values` replace fields."""
    hints = get_type_hints(settings)
    for one in fields(settings):
        about = one.metadata.get(_OPTION)
        if one.name in values or not (_is_settings(hints[one.name]) if about is None else about.offered):
            continue
        if about is None:
            values[one.name] = settings_of(args, hints[one.name])
        elif about.collect is not None:
            values[one.name] = about.collect(args)
        else:
            value = getattr(args, _dest(one.name, about))
            if _kind(hints[one.name], about)[0] is Mapping:
                value = dict(value or ())
            if value is not None or not about.repeated:
                values[one.name] = tuple(value) if isinstance(value, list) else value
    return settings(**values)


def absolute(settings: SettingsT) -> SettingsT:
    """Return settings whose paths do not depend on the working directory."""
    paths = {one.name: getattr(settings, one.name) for one in fields(type(settings))}
    resolved = {name: path.resolve() for name, path in paths.items() if isinstance(path, Path)}
    return replace(settings, **resolved)


def _is_settings(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Settings)


def _flag(name: str, about: _Option) -> str:
    return about.name or f"--{name.replace('_', '-')}"


def _dest(name: str, about: _Option) -> str:
    """Return the name of a value among the parsed arguments; it is the option's, so that nested settings differ."""
    return name if about.positional else _flag(name, about).lstrip("-").replace("-", "_")


def _kind(hint: Any, about: _Option) -> tuple[Any, str | int | None]:
    """Return the type of one value of a field, and argparse's ``nargs`` for the field."""
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(part for part in get_args(hint) if part is not type(None))
    if get_origin(hint) is Mapping:
        return Mapping, "+"
    if get_origin(hint) is not tuple:
        return hint, None
    first, *others = get_args(hint)
    if others == [...]:
        return first, "+"
    return first, None if about.read is not None else 1 + len(others)


def _choices(kind: Any) -> tuple[Any, ...]:
    """Return the values of a literal or an enum; none of other types."""
    if get_origin(kind) is Literal:
        return get_args(kind)
    return tuple(kind) if isinstance(kind, type) and issubclass(kind, Enum) else ()


def _reader(kind: Any, about: _Option) -> Callable[[str], Any]:
    """Return what reads the text of one value, for argparse's ``type``."""

    def read(text: str) -> Any:
        if about.read is not None:
            try:
                return about.read(text)
            except DataError as error:
                raise argparse.ArgumentTypeError(str(error)) from None
        by_name = {str(choice): choice for choice in _choices(kind)}
        try:
            value = by_name.get(text, text) if by_name else kind(text)
        except ValueError:
            value = math.nan
        problem = _problem(kind, about, value)
        if problem is None:
            return value
        raise argparse.ArgumentTypeError(f"{problem}, got {text!r}")

    return read


def _placeholder(kind: Any) -> str:
    if choices := _choices(kind):
        return "{" + ",".join(map(str, choices)) + "}"
    return {int: "N", float: "X", Path: "PATH"}.get(kind, "NAME")


def _unset(one: Field[Any]) -> Any:
    return None if one.default is MISSING else one.default


def _default(one: Field[Any], about: _Option) -> str:
    """Return the words of the help about the default."""
    if about.shown is not None:
        return f" (default: {about.shown})"
    value = _unset(one)
    if value is None or value == () or about.positional:
        return ""
    return f" (default {' '.join(map(_text, value)) if isinstance(value, tuple) else _text(value)})"


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
