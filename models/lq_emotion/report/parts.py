"""A report is made of parts; a part whose files are missing or damaged says so in a line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from caffe_compat.errors import CaffeCompatError
from lq_emotion.common.document import Block, Section, Text

Source = TypeVar("Source")
Part = Callable[[Source], Iterator[Block]]
"""From what a report is made of to a piece of a section."""


class Absent(Exception):  # noqa: N818 (nothing is wrong)
    """A part has no files to be made from; the argument is a line about what would write them."""


def sections(
    parts: Mapping[str, Sequence[Part[Source]]], source: Source, *, finished: bool = False
) -> tuple[Section, ...]:
    """Return the sections, each with the parts under its title. A line tells what is missing or damaged.

    A `finished` study has no lines about parts that it does not have, and no sections without content.
    """
    made = ((title, [b for part in pieces for b in _made(part, source, finished)]) for title, pieces in parts.items())
    return tuple(Section(title, tuple(blocks)) for title, blocks in made if blocks or not finished)


def _made(part: Part[Source], source: Source, finished: bool) -> list[Block]:  # noqa: FBT001
    blocks: list[Block] = []
    try:
        blocks.extend(part(source))  # blocks before a problem stay
    except Absent as absent:
        if not finished:
            blocks.append(Text(str(absent), "note"))
    except (CaffeCompatError, OSError) as error:
        blocks.append(Text(f"A part could not be made: {error}", "note"))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        what = f"{type(error).__name__}: {error}"
        blocks.append(Text(f"A part could not be made from damaged files ({what}).", "note"))
    return blocks
