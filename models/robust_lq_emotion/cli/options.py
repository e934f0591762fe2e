"""Kinds of option values that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def at_least(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return a reader of whole numbers from `least` to `most`, for argparse's ``type``."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least or (most is not None and int(text) > most):
            wanted = f"a whole number from {least}" + (f" to {most}" if most else "")
            raise argparse.ArgumentTypeError(f"{text!r}: {wanted} is expected")
        return int(text)

    return number
