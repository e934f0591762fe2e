"""What several commands share: kinds of option values, and where lines of progress go."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable


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
