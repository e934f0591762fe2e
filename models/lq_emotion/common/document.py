"""The elements of a report, independent of its format.

Text may contain `code` between backticks and **strong** text between pairs of asterisks; nothing else is markup.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    title: str
    """Title with the unit, if any."""
    group: str = ""
    """A heading shared with its neighbours, written above them once."""
    number: bool = True
    """Aligned to the right."""


@dataclass(frozen=True)
class Cell:
    """A value: strong if it is the best of its kind, faint if it is only for comparison."""

    text: str
    strong: bool = False
    faint: bool = False


@dataclass(frozen=True)
class Row:
    """Values, the first of which names the row; or, with `group`, a heading of the rows that follow."""

    cells: tuple[Cell, ...] = ()
    group: str = ""


@dataclass(frozen=True)
class Table:
    """A table with its caption."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Figure:
    """An image with its caption."""

    name: str
    """Name of the file, without its suffix."""
    png: bytes
    caption: str
    alt: str
    """The same in fewer words, for screen readers."""

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height in pixels."""
        width, height = struct.unpack(">II", self.png[16:24])
        return width, height


@dataclass(frozen=True)
class Text:
    """A paragraph; a note names what is missing, a warning what must not be overlooked."""

    text: str
    kind: Literal["plain", "note", "warning"] = "plain"


Block: TypeAlias = Table | Figure | Text


@dataclass(frozen=True)
class Section:
    """A chapter."""

    title: str
    blocks: tuple[Block, ...]

    @property
    def key(self) -> str:
        """Return the anchor for links."""
        return re.sub(r"[\W_]+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True)
class Report:
    """A title, the paragraphs that lead, and sections."""

    title: str
    lead: tuple[Text, ...]
    sections: tuple[Section, ...] = field(default=())

    @property
    def figures(self) -> list[Figure]:
        """Return all figures."""
        return [block for section in self.sections for block in section.blocks if isinstance(block, Figure)]

    @property
    def notes(self) -> list[str]:
        """Return the notes, which name what is missing, a line each."""
        blocks = (block for section in self.sections for block in section.blocks)
        return [block.text for block in blocks if isinstance(block, Text) and block.kind == "note"]


def row(*values: str | Cell) -> Row:
    """Return a row of text and cells."""
    return Row(tuple(value if isinstance(value, Cell) else Cell(str(value)) for value in values))


def number(value: float | None, digits: int = 3, *, sign: bool = False) -> str:
    """Return a number as all tables show it, with a true minus sign; a dash for None and NaN."""
    if value is None or math.isnan(value):
        return "–"
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    return (text.lstrip("+-") if not float(text) else text).replace("-", "−")


def without_markup(text: str) -> str:
    """Return text without the marks of code and strong text."""
    return text.replace("**", "").replace("`", "")


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: ``1 frame``, ``2 frames``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def code(value: object) -> str:
    """Return a name as code."""
    return "`" + str(value).replace("`", "'") + "`"


def duration(seconds: float) -> str:
    """Return a time in seconds, minutes or hours."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


_PNG = b"\x89PNG\r\n\x1a\n"


def is_png(data: bytes) -> bool:
    """Tell whether these bytes are a complete PNG file."""
    return data.startswith(_PNG) and data[12:16] == b"IHDR" and data.rstrip(b"\0").endswith(b"IEND\xaeB`\x82")


def read_png(path: Path) -> bytes | None:
    """Return the bytes of an image; None if it is missing or truncated."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return data if is_png(data) else None
