"""A report as Markdown, its figures in a folder next to it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from caffe_compat.errors import printable
from lq_emotion.common.document import Block, Cell, Figure, Report, Row, Table, Text

_CODE = re.compile(r"`([^`]+)`")


def as_text(text: str) -> str:
    """Return Markdown that renders as this text, in a paragraph or a cell of a table."""
    return re.sub(r"([\\`*\[\]|])", r"\\\1", html.escape(printable(text), quote=False))


def markdown(report: Report, figures: str) -> str:
    """Return a report as Markdown; NAME.png of its figures are in the folder `figures`."""
    parts = [f"# {_inline(report.title)}", *(_text(text) for text in report.lead)]
    for section in report.sections:
        parts.append(f"## {_inline(section.title)}")
        parts += (_block(block, figures) for block in section.blocks)
    return "\n\n".join(parts) + "\n"


def _inline(text: str) -> str:
    """Return text whose only markup is `code` and **strong**: neither HTML nor links."""
    parts = _CODE.split(printable(text))  # text and code in turn
    return "".join(_coded(part) if number % 2 else _plain(part) for number, part in enumerate(parts))


def _plain(text: str) -> str:
    return html.escape(text, quote=False).replace("](", "]\\(")


def _coded(text: str) -> str:
    """Return code; in HTML where it has characters that look like HTML, which readers of Markdown treat differently."""
    escaped = html.escape(text, quote=False)
    return f"`{text}`" if escaped == text else f"<code>{escaped}</code>"


def _block(block: Block, figures: str) -> str:
    if isinstance(block, Text):
        return _text(block)
    if isinstance(block, Figure):
        target = f"{figures}/{block.name}.png".replace(" ", "%20")
        return f"![{as_text(block.alt)}]({target})\n\n*{_inline(block.caption)}*"
    return f"{_inline(block.caption)}\n\n" + "\n".join(_table(block))


def _text(text: Text) -> str:
    return {"plain": "{}", "note": "> {}", "warning": "> **{}**"}[text.kind].format(_inline(text.text))


def _table(table: Table) -> Iterator[str]:
    yield _line([_inline(f"{column.group} {column.title}".strip()) for column in table.columns])
    yield "|" + "|".join("---:" if column.number else "---" for column in table.columns) + "|"
    for row in table.rows:
        yield _line(_cells(row, len(table.columns)))


def _cells(row: Row, count: int) -> list[str]:
    if row.group:
        return [f"**{_inline(row.group)}**", *[""] * (count - 1)]
    return [_cell(cell) for cell in row.cells]


def _cell(cell: Cell) -> str:
    return f"**{_inline(cell.text)}**" if cell.strong else _inline(cell.text)


def _line(values: list[str]) -> str:
    return "| " + " | ".join(value.replace("|", "\\|") for value in values) + " |"
