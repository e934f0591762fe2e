"""A report is made of parts; a part whose files are missing or damaged says so in a line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from caffe_compat.errors import CaffeCompatError
from lq_emotion.common.document import Block, Figure, Section, Text, read_png

Part = Callable[[], Iterator[Block]]
"""Yields a piece of a section."""


class Absent(Exception):  # noqa: N818 (nothing is wrong)
    """A part has no files to be made from; the argument is a line about what would write them."""


def sections(parts: Mapping[str, Sequence[Part]], *, finished: bool = False) -> tuple[Section, ...]:
    """Return the sections, each with the parts under its title. A line tells what is missing or damaged.

    A `finished` study has no lines about parts that it does not have, and no sections without content.
    """
    made = ((title, [b for part in pieces for b in _made(part, finished)]) for title, pieces in parts.items())
    return tuple(Section(title, tuple(blocks)) for title, blocks in made if blocks or not finished)


def _made(part: Part, finished: bool) -> list[Block]:  # noqa: FBT001
    blocks: list[Block] = []
    try:
        blocks.extend(part())  # blocks before a problem stay
    except Absent as absent:
        if not finished:
            blocks.append(Text(str(absent), "note"))
    except (CaffeCompatError, OSError) as error:
        blocks.append(Text(f"A part could not be made: {error}", "note"))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        what = f"{type(error).__name__}: {error}"
        blocks.append(Text(f"A part could not be made from damaged files ({what}).", "note"))
    return blocks


def figure_of(path: Path, name: str, caption: str, alt: str) -> Block:
    """Return a figure that another command drew; a note where its file is missing."""
    data = read_png(path)
    missing = Text(f"{path.parent.name}/{path.name} is missing.", "note")
    return missing if data is None else Figure(name, data, caption, alt)
