"""Blocks of a document as plain text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from caffe_compat.errors import printable
from lq_emotion.common.document import Block, Figure, Row, Table, Text, without_markup

_KINDS = {"plain": "", "note": "note: ", "warning": "warning: "}


def plain_text(blocks: Iterable[Block]) -> Iterator[str]:
    """Yield lines: paragraphs, tables with aligned columns below their captions, and the alternative text of figures.

    Tables with a caption have an empty line before and after them.
    """
    after_table = False
    for number, block in enumerate(blocks):
        captioned = isinstance(block, Table) and bool(block.caption)
        if number and (captioned or after_table):
            yield ""
        yield from _block(block)
        after_table = captioned


def table_lines(table: Table) -> Iterator[str]:
    """Yield the head and the rows; columns of numbers are aligned to the right, the others to the left."""
    head = [_plain(f"{column.group} {column.title}".strip()) for column in table.columns]
    rows = [_cells(row) for row in table.rows]
    lines = [cells for cells in (head, *rows) if isinstance(cells, list)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for cells in (head, *rows):
        if isinstance(cells, str):
            yield cells
            continue
        aligned = (
            f"{cell:>{width}}" if column.number else f"{cell:{width}}"
            for cell, width, column in zip(cells, widths, table.columns, strict=True)
        )
        yield "  ".join(aligned).rstrip()


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Text):
        yield _KINDS[block.kind] + _plain(block.text)
    elif isinstance(block, Figure):
        yield f"{block.name}.png: {_plain(block.alt)}"
    else:
        if block.caption:
            yield _plain(block.caption)
        yield from table_lines(block)


def _cells(row: Row) -> list[str] | str:
    """Return the text of each cell, or the heading of a group of rows."""
    return _plain(row.group) if row.group else [_plain(cell.text) for cell in row.cells]


def _plain(text: str) -> str:
    return without_markup(printable(text))
