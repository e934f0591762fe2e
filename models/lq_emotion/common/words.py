"""Names and numbers as people order and write them."""

from __future__ import annotations

import re


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: ``1 frame``, ``2 frames``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def natural_key(name: str) -> list[tuple[int, str]]:
    """Return a sort key: ``frame_2`` before ``frame_10``."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
