"""A report as one self-contained HTML page: no network, no scripts, figures embedded."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterator
from itertools import groupby

from caffe_compat.errors import printable
from lq_emotion.common.document import Block, Column, Figure, Report, Row, Table, Text
from lq_emotion.common.style import STYLE


def page(report: Report) -> str:
    """Return the page; control characters in names are escaped."""
    title = html.escape(report.title)
    contents = "".join(f'<li><a href="#{s.key}">{html.escape(s.title)}</a></li>' for s in report.sections)
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>",
        f"<header>\n<h1>{title}</h1>",
        *(_text(text) for text in report.lead),
        f'<nav aria-label="Contents"><ul>{contents}</ul></nav>\n</header>',
    ]
    for section in report.sections:
        parts.append(f'<section id="{section.key}">\n<h2>{html.escape(section.title)}</h2>')
        parts += [_block(block) for block in section.blocks]
        parts.append("</section>")
    parts.append("</main>\n</body>\n</html>\n")
    return printable("\n".join(parts), keep="\n\t")


def _block(block: Block) -> str:
    if isinstance(block, Text):
        return _text(block)
    return _figure(block) if isinstance(block, Figure) else _table(block)


def _text(text: Text) -> str:
    kind = "" if text.kind == "plain" else f' class="{text.kind}"'
    return f"<p{kind}>{_inline(text.text)}</p>"


def _figure(figure: Figure) -> str:
    width, height = figure.size
    data = base64.b64encode(figure.png).decode("ascii")
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{html.escape(figure.alt)}" '
        f'width="{width}" height="{height}">\n<figcaption>{_inline(figure.caption)}</figcaption></figure>'
    )


def _table(table: Table) -> str:
    """Return a table, which scrolls in its own frame if it is wider than the page."""
    starts = _starts(table.columns)
    lines = [f'<div class="table" tabindex="0" role="region" aria-label="{html.escape(_plain(table.caption))}">']
    lines.append(f"<table>\n<caption>{_inline(table.caption)}</caption>\n<thead>")
    lines += _heads(table.columns, starts)
    lines.append("</thead>\n<tbody>")
    for number, row in enumerate(table.rows):
        if row.group and number:
            lines.append("</tbody>\n<tbody>")
        lines.append(_row(row, table.columns, starts))
    lines.append("</tbody>\n</table></div>")
    return "\n".join(lines)


def _starts(columns: tuple[Column, ...]) -> set[int]:
    """Return the columns that begin a group."""
    return {n for n, column in enumerate(columns) if column.group and (n == 0 or columns[n - 1].group != column.group)}


def _heads(columns: tuple[Column, ...], starts: set[int]) -> Iterator[str]:
    if starts:
        spans = [(group, len(list(members))) for group, members in groupby(columns, key=lambda column: column.group)]
        over = (
            f'<th scope="colgroup" colspan="{count}" class="group">{_inline(group)}</th>'
            if group
            else f'<td colspan="{count}"></td>'
            for group, count in spans
        )
        yield f"<tr>{''.join(over)}</tr>"
    heads = (
        f'<th scope="col"{_class(number=column.number, starts=n in starts)}>{_inline(column.title)}</th>'
        for n, column in enumerate(columns)
    )
    yield f"<tr>{''.join(heads)}</tr>"


def _row(row: Row, columns: tuple[Column, ...], starts: set[int]) -> str:
    if row.group:
        return f'<tr class="over"><th scope="rowgroup" colspan="{len(columns)}">{_inline(row.group)}</th></tr>'
    parts = []
    for n, (cell, column) in enumerate(zip(row.cells, columns, strict=True)):
        text = f"<strong>{_inline(cell.text)}</strong>" if cell.strong else _inline(cell.text)
        kind = _class(number=column.number, starts=n in starts, faint=cell.faint)
        parts.append(f"<td{kind}>{text}</td>" if n else f'<th scope="row"{kind}>{text}</th>')
    return f"<tr>{''.join(parts)}</tr>"


def _class(**classes: bool) -> str:
    names = " ".join(name for name, applies in classes.items() if applies)
    return f' class="{names}"' if names else ""


def _inline(text: str) -> str:
    escaped = html.escape(text, quote=False)
    escaped = re.sub(r"\bs = (?=\d)", "s\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}", escaped)
    strong = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", escaped)
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", strong)


def _plain(text: str) -> str:
    return text.replace("**", "").replace("`", "")
