"""Sort names as people do: numbers by their value."""

from __future__ import annotations

import re


def natural_key(name: str) -> list[tuple[int, str]]:
    """Return a sort key: ``frame_2`` before ``frame_10``."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
