"""What several commands share: kinds of option values, and where lines of progress go."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from caffe_compat.errors import CaffeCompatError
from lq_emotion.datasets.avec.partitions import Partitions, chosen_partitions
from lq_emotion.nets.switches import AS_CODE, AS_PAPER, PaperSwitches, setting


def teller(args: argparse.Namespace) -> Callable[[str], None]:
    """Return what prints lines of progress: to stdout, or to stderr where ``--json`` keeps that for the results."""
    stream = sys.stderr if args.json else sys.stdout
    return lambda line: print(line, file=stream, flush=True)


def at_least(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return a reader of whole numbers from `least` to `most`, for argparse's ``type``."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least or (most is not None and int(text) > most):
            wanted = f"a whole number from {least}" + (f" to {most}" if most else "")
            raise argparse.ArgumentTypeError(f"{text!r}: {wanted} is expected")
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
            raise argparse.ArgumentTypeError(f"{text!r}: a number from {least:g} up is expected")
        return value

    return number


def add_partitions(parser: argparse.ArgumentParser) -> None:
    """Add ``--train``, ``--dev`` and ``--partitions``, which `partitions_of` reads."""
    group = parser.add_argument_group("partitions", "by default as prepare was told, else train_* and dev_*")
    group.add_argument("--train", nargs="+", default=(), metavar="NAME", help="recordings to train with")
    group.add_argument("--dev", nargs="+", default=(), metavar="NAME", help="recordings to test and score on")
    told = "a table of both: columns name and partition (train, dev, test)"
    group.add_argument("--partitions", type=Path, metavar="CSV", help=told)


def add_dimension(parser: argparse._ActionsContainer) -> None:
    """Add ``--dimension``."""
    told = "what labels are of; results of arousal go to ROOT/arousal, beside those of valence (valence)"
    parser.add_argument("--dimension", choices=("valence", "arousal"), default="valence", help=told)


def add_delay(parser: argparse._ActionsContainer, default: float | None = None) -> None:
    """Add ``--delay``."""
    told = "what the recordings were prepared with" if default is None else f"{default:g}"
    text = f"seconds by which the gold standard is late, in all; what prepare made up for is not done again ({told})"
    parser.add_argument("--delay", type=number_from(0), default=default, metavar="S", help=text)


def partitions_of(args: argparse.Namespace) -> Partitions | None:
    """Return the partitions that a command's user names; None where none are named.

    Raises
    ------
    CaffeCompatError
    """
    return chosen_partitions(args.train, args.dev, args.partitions)


def add_switches(parser: argparse.ArgumentParser) -> None:
    """Add ``--as`` and ``--switch``, which `chosen` reads."""
    told = "do as the authors' code or as the paper says where they part (code); docs/paper_vs_code.md lists all"
    parser.add_argument("--as", dest="variant", choices=("code", "paper"), default="code", help=told)
    parser.add_argument(
        "--switch",
        nargs="+",
        action="extend",
        type=_switch,
        default=[],
        metavar="NAME=VALUE",
        help="single ones of these",
    )


def _switch(text: str) -> tuple[str, Any]:
    try:
        return setting(text)
    except CaffeCompatError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def chosen(args: argparse.Namespace) -> PaperSwitches:
    """Return the switches of a command.

    Raises
    ------
    NetError
        Settings that do not go together.
    """
    return replace(AS_PAPER if args.variant == "paper" else AS_CODE, **dict(args.switch))
