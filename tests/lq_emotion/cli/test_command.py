"""A command made of settings: options, ``--json``, failures and values that are refused."""

import argparse
import json
from dataclasses import dataclass, field

import pytest

from lq_emotion.cli.command import Command
from lq_emotion.common.records import Record
from lq_emotion.common.settings import Settings, option, settings_of


@dataclass(frozen=True, kw_only=True)
class Inner(Settings):
    scale: tuple[float, ...] = option((1.0,), "factors", least=1)
    pair: tuple[int, int] = option((1, 2), "two numbers", least=0)


@dataclass(frozen=True, kw_only=True)
class Outer(Settings):
    source: str = option(help="a source", positional=True)
    inner: Inner = field(default_factory=Inner)
    name: tuple[str, ...] = option(("a",), "100 % of the names", repeated=True)
    figures: bool = option(True, "no figures", name="--no-figures")
    rate: float | None = option(None, "a rate", above=0)
    hidden: int = option(3, least=1, offered=False)


@dataclass(frozen=True)
class Result(Record):
    value: int


def run(settings, say):
    say(f"reading {settings.source}")
    return Result(len(settings.name))


def show(result, settings):
    print(f"{settings.source}: {result.value}")


def failures(result):
    return [f"{result.value} names"] if result.value > 2 else []


def called(*words):
    parser = argparse.ArgumentParser()
    Command(Outer, run, show, failures).add_to(parser)
    args = parser.parse_args(words)
    return args.run(args)


def settings(*words):
    parser = argparse.ArgumentParser()
    Command(Outer, run).add_to(parser)
    return settings_of(parser.parse_args(words), Outer)


def test_options_are_the_fields():
    assert settings("x") == Outer(source="x")
    made = settings("x", "--scale", "2", "3.5", "--pair", "4", "5", "--name", "b", "--name", "c", "--no-figures")
    assert made == Outer(source="x", inner=Inner(scale=(2, 3.5), pair=(4, 5)), name=("b", "c"), figures=False)


def test_with_json_nothing_else_is_on_stdout(capsys):
    assert called("x", "--json") == 0
    output = capsys.readouterr()
    assert json.loads(output.out) == {"value": 1}
    assert output.err == "reading x\n"


def test_without_json_lines_and_result_are_on_stdout(capsys):
    assert called("x") == 0
    assert capsys.readouterr().out == "reading x\nx: 1\n"


def test_failures_are_lines_on_stderr_and_the_exit_code_is_1(capsys):
    assert called("x", "--name", "a", "--name", "b", "--name", "c") == 1
    assert capsys.readouterr().err == "lq-emotion: error: 3 names\n"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--scale", "0.5"), "expected a number, 1 or more, got '0.5'"),
        (("--pair", "1", "2.5"), "expected an integer, 0 or more, got '2.5'"),
        (("--rate", "0"), "expected a number above 0, got '0'"),
        (("--rate", "nan"), "expected a number above 0, got 'nan'"),
        (("--pair", "1"), "expected 2 arguments"),
        (("--hidden", "2"), "unrecognized arguments"),
    ],
)
def test_wrong_values_are_wrong_usage(words, problem, capsys):
    with pytest.raises(SystemExit) as stop:
        called("x", *words)
    assert stop.value.code == 2
    assert problem in capsys.readouterr().err


def test_stored_settings_out_of_range_are_a_value_error():
    with pytest.raises(ValueError, match="expected an integer, 1 or more"):
        Outer.from_json(Outer(source="x").to_json() | {"hidden": 0})


def test_settings_are_stored_and_read_back():
    made = Outer(source="x", inner=Inner(pair=(4, 5)))
    assert Outer.from_json(json.loads(json.dumps(made.to_json()))) == made
