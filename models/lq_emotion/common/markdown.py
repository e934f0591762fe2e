"""A report as Markdown, its figures in a folder beside it."""

from __future__ import annotations

from collections.abc import Iterator

from lq_emotion.common.document import Block, Cell, Figure, Report, Row, Table, Text


def markdown(report: Report, figures: str) -> str:
    """Return the text.

    Parameters
    ----------
    report : the report.
    figures : the folder of NAME.png, relative to the file.
    """
    parts = [f"# {report.title}", *(_text(text) for text in report.lead)]
    for section in report.sections:
        parts.append(f"## {section.title}")
        parts += (_block(block, figures) for block in section.blocks)
    return "\n\n".join(parts).replace("<", "&lt;") + "\n"  # text is not HTML


def _block(block: Block, figures: str) -> str:
    if isinstance(block, Text):
        return _text(block)
    if isinstance(block, Figure):
        target = f"{figures}/{block.name}.png".replace(" ", "%20")
        return f"![{block.alt}]({target})\n\n*{block.caption}*"
    return f"{block.caption}\n\n" + "\n".join(_table(block))


def _text(text: Text) -> str:
    return {"plain": "{}", "note": "> {}", "warning": "> **{}**"}[text.kind].format(text.text)


def _table(table: Table) -> Iterator[str]:
    yield _line([f"{column.group} {column.title}".strip() for column in table.columns])
    yield "|" + "|".join("---:" if column.number else "---" for column in table.columns) + "|"
    for row in table.rows:
        yield _line(_cells(row, len(table.columns)))


def _cells(row: Row, count: int) -> list[str]:
    if row.group:
        return [f"**{row.group}**", *[""] * (count - 1)]
    return [_cell(cell) for cell in row.cells]


def _cell(cell: Cell) -> str:
    return f"**{cell.text}**" if cell.strong else cell.text


def _line(values: list[str]) -> str:
    return "| " + " | ".join(value.replace("|", "\\|") for value in values) + " |"
