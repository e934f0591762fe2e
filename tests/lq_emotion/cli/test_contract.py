"""The contract of every command: help, wrong usage, and settings that are refused alike by command and by record."""

import argparse
import re
from dataclasses import fields
from functools import cache
from importlib import import_module
from typing import Any, get_type_hints

import pytest

from caffe_compat.errors import DataError
from lq_emotion.cli import _COMMANDS, main, parser
from lq_emotion.cli.command import Command
from lq_emotion.common.settings import _OPTION, Settings, _flag, _kind

BELOW = {"least": -1, "above": 0, "most": 1}  # added to a limit, a value outside of it


def command(path):
    module, _, name = _COMMANDS[path][0].partition(":")
    return getattr(import_module(f"lq_emotion.cli.{module}"), name or "COMMAND")


@cache
def parsed(path):
    """Return the parser of a command."""
    command(path)
    named = parser(path.split())
    for word in path.split():
        groups = (action for action in named._actions if isinstance(action, argparse._SubParsersAction))
        named = next(groups).choices[word]
    return named


def options(settings: type[Settings]) -> list[tuple[type[Settings], str, Any, Any]]:
    """Return class, field name, type and description of each option, those of nested settings included."""
    hints, described = get_type_hints(settings), []
    for field in fields(settings):
        about, hint = field.metadata.get(_OPTION), hints[field.name]
        if about is None:
            described += options(hint) if isinstance(hint, type) and issubclass(hint, Settings) else []
        elif about.add is None:
            described.append((settings, field.name, None if about.read else _kind(hint, about)[0], about))
    return described


def out_of_range(kind, about):
    """Return values that the option refuses."""
    if kind not in (int, float):
        return []
    values = [getattr(about, limit) + change for limit, change in BELOW.items() if getattr(about, limit) is not None]
    return [int(value) if kind is int else float(value) for value in values]


every_command = pytest.mark.parametrize("path", _COMMANDS)


@every_command
def test_the_help_explains_each_option(path, capsys):
    named = parsed(path)
    assert main([*path.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    for action in named._actions:
        assert action.help, action.dest
        assert all(name in shown for name in action.option_strings or [str(action.metavar)])
    assert not re.search(r"\(default (None|\(\)|PosixPath)", shown)


@every_command
def test_wrong_usage_is_2_with_one_line_of_error(path, capsys):
    parsed(path)
    assert main([*path.split(), "--no-such-option"]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("usage: lq-emotion")
    assert sum("error: " in line for line in output.err.splitlines()) == 1


@every_command
def test_a_value_out_of_range_is_refused_alike_by_command_and_by_record(path, capsys):
    made, named = command(path), parsed(path)
    assert isinstance(made, Command)
    actions = {name: action for action in named._actions for name in action.option_strings}
    for settings, name, kind, about in options(made.settings):
        for value in out_of_range(kind, about):
            several = isinstance(getattr(get_type_hints(settings)[name], "__origin__", None), type)
            record = object.__new__(settings)
            for field in fields(settings):
                default = None if field.name != name else ((value,) if several else value)
                object.__setattr__(record, field.name, default)
            with pytest.raises(DataError) as refusal:
                Settings.__post_init__(record)
            flag = _flag(name, about)
            assert (refusal.value.code, refusal.value.field) == ("out-of-range", flag)
            if not about.offered:
                continue
            with pytest.raises(argparse.ArgumentTypeError, match=re.escape(refusal.value.hint)):
                actions[flag].type(str(value))


@every_command
def test_a_text_that_an_option_cannot_read_is_refused(path):
    named = parsed(path)
    for _, name, kind, about in options(command(path).settings):
        if about.read or (kind in (int, float) and about.offered):
            action = next(action for action in named._actions if _flag(name, about) in action.option_strings)
            with pytest.raises(argparse.ArgumentTypeError, match=None if about.read else "expected a"):
                action.type("=")


@every_command
def test_what_a_command_returns_can_be_had_as_json(path):
    made, named = command(path), parsed(path)
    returns_nothing = path.startswith("data make") or path in ("models get", "models add")
    assert ("--json" in named._option_string_actions) is not returns_nothing, made
