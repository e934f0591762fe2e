"""A command made of its settings: options, ``--json`` and the printing of results."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any, Generic, TypeVar

from caffe_compat.errors import printable
from lq_emotion.common.progress import Say
from lq_emotion.common.settings import Settings, add_options, settings_of

SettingsT = TypeVar("SettingsT", bound=Settings)
ResultT = TypeVar("ResultT")


def imported(name: str) -> Callable[..., Any]:
    """Return a function of `lq_emotion`, MODULE:FUNCTION, whose module is imported when it is called."""

    def call(*args: Any) -> Any:
        return resolve_name(f"lq_emotion.{name}")(*args)

    return call


@dataclass(frozen=True)
class Command(Generic[SettingsT, ResultT]):
    """A command, whose options are the fields of its settings."""

    settings: type[SettingsT]
    run: Callable[[SettingsT, Say], ResultT]
    show: Callable[[ResultT, SettingsT], None] = lambda _result, _settings: None
    """Prints the result for people, where lines of progress do not suffice."""
    failures: Callable[[ResultT], Sequence[str]] = lambda _result: ()
    """Returns the parts of the result that failed, a line each; with one or more the exit code is 1."""
    json: bool = True
    """Offer ``--json``, which prints the result: a record, several, or a dict of JSON values."""

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        """Add the options to a parser, and what runs the command to its defaults."""
        add_options(parser, self.settings)
        if self.json:
            text = "print results as JSON to stdout and progress to stderr"
            parser.add_argument("--json", action="store_true", help=text)
        parser.set_defaults(run=self._run)

    def _run(self, args: argparse.Namespace) -> int:
        settings = settings_of(args, self.settings)
        as_json = self.json and args.json
        result = self.run(settings, teller(sys.stderr if as_json else sys.stdout))
        if as_json and result is not None:
            print(json.dumps(_plain(result), indent=2))
        elif not as_json:
            self.show(result, settings)
        failures = self.failures(result)
        for line in failures:
            sys.stderr.write(f"lq-emotion: error: {printable(line)}\n")
        return 1 if failures else 0


def teller(stream: Any) -> Say:
    """Return the printer of lines to a stream."""
    return lambda line: print(printable(line, keep="\n\t"), file=stream, flush=True)


def _plain(result: Any) -> Any:
    if isinstance(result, dict):
        return result
    return [one.to_json() for one in result] if isinstance(result, list | tuple) else result.to_json()
