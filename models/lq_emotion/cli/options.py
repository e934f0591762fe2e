"""Options that several commands share, readers of option values, and the printer of progress."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from caffe_compat.errors import CaffeCompatError, printable
from lq_emotion.datasets.avec.partitions import Partitions, chosen_partitions
from lq_emotion.nets.switches import AS_CODE, AS_PAPER, PaperSwitches, parse_setting


def teller(args: argparse.Namespace) -> Callable[[str], None]:
    """Return the printer of progress: to stdout, or to stderr if ``--json`` reserves stdout for the results."""
    stream = sys.stderr if args.json else sys.stdout
    return lambda line: print(printable(line, keep="\n\t"), file=stream, flush=True)


def at_least(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return a reader of integers from `least` to `most`, for argparse's ``type``."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least or (most is not None and int(text) > most):
            interval = f"{least} to {most}" if most else f"{least} or more"
            raise argparse.ArgumentTypeError(f"expected an integer, {interval}, got {text!r}")
        return int(text)

    return number


def number_from(least: float = -math.inf) -> Callable[[str], float]:
    """Return a reader of finite numbers from `least` up, for argparse's ``type``."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= least):
            raise argparse.ArgumentTypeError(f"expected a number, {least:g} or more, got {text!r}")
        return value

    return number


def add_partitions(parser: argparse.ArgumentParser) -> None:
    """Add ``--train``, ``--dev`` and ``--partitions``, which `partitions_of` reads."""
    group = parser.add_argument_group(
        "partitions", "default: those that prepare was given, else by name: train_* and dev_*"
    )
    group.add_argument("--train", nargs="+", default=(), metavar="NAME", help="recordings to train on")
    group.add_argument("--dev", nargs="+", default=(), metavar="NAME", help="recordings to test on")
    help_text = "CSV file with the columns name and partition (train, dev or test)"
    group.add_argument("--partitions", type=Path, metavar="CSV", help=help_text)


def add_dimension(parser: argparse._ActionsContainer, *, both: bool = True) -> None:
    """Add ``--dimension``; with `both`, of valence and arousal together, too."""
    help_text = "label to learn (default valence); results for others than valence lie in ROOT/arousal and ROOT/both"
    choices = ("valence", "arousal", "both") if both else ("valence", "arousal")
    parser.add_argument("--dimension", choices=choices, default="valence", help=help_text)


def add_delay(parser: argparse._ActionsContainer, default: float | None = None) -> None:
    """Add ``--delay``."""
    shown = "as prepared" if default is None else f"{default:g}"
    text = f"delay of the gold standard in seconds, including what prepare removed (default {shown})"
    parser.add_argument("--delay", type=number_from(0), default=default, metavar="S", help=text)


def partitions_of(args: argparse.Namespace) -> Partitions | None:
    """Return the partitions named on the command line; None if there are none.

    Raises
    ------
    CaffeCompatError
    """
    return chosen_partitions(args.train, args.dev, args.partitions)


def add_switches(parser: argparse.ArgumentParser) -> None:
    """Add ``--as`` and ``--switch``, which `chosen` reads."""
    help_text = "follow the authors' code or their paper where they disagree (default code); see docs/paper_vs_code.md"
    parser.add_argument("--as", dest="variant", choices=("code", "paper"), default="code", help=help_text)
    parser.add_argument(
        "--switch",
        nargs="+",
        action="extend",
        type=_switch,
        default=[],
        metavar="NAME=VALUE",
        help="set single switches; overrides --as",
    )


def _switch(text: str) -> tuple[str, Any]:
    try:
        return parse_setting(text)
    except CaffeCompatError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def chosen(args: argparse.Namespace) -> PaperSwitches:
    """Return the switches of a command.

    Raises
    ------
    NetError
        The settings contradict each other.
    """
    return replace(AS_PAPER if args.variant == "paper" else AS_CODE, **dict(args.switch))
