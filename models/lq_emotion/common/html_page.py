"""A report as one self-contained HTML page: no network, no scripts, figures embedded."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterator
from itertools import groupby

from caffe_compat.errors import printable
from lq_emotion.common.document import Block, Column, Figure, Report, Row, Table, Text, without_markup

STYLE = """\
:root {
  --paper: #fdfdfb; --ink: #1c1d1f; --soft: #5c6167; --line: #d8d9d6; --rule: #1c1d1f; --link: #1f5fa8;
  --band: #f1f2ee; --warn: #fff1d6; --warn-line: #c77700;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #17191c; --ink: #e4e5e3; --soft: #9ea3a8; --line: #383c41; --rule: #b9bcbf; --link: #86b7ee;
    --band: #202327; --warn: #3a2c10; --warn-line: #e0a030;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 17px/1.55 Charter, "Bitstream Charter", "Iowan Old Style", Palatino, "DejaVu Serif", Georgia, serif;
}
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.25rem 5rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 1rem; text-wrap: balance; }
h2 {
  font-size: 1.35rem; line-height: 1.3; margin: 3.2rem 0 .9rem; padding-top: .6rem; border-top: 1px solid var(--line);
}
p { max-width: 44rem; margin: .7rem 0; overflow-wrap: break-word; }
a { color: var(--link); }
code { font: .86em ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
p.note { color: var(--soft); border-left: 3px solid var(--line); padding-left: .8rem; font-style: italic; }
p.warning { background: var(--warn); border-left: 4px solid var(--warn-line); padding: .7rem .9rem; font-weight: 600; }
nav ul { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; list-style: none; padding: 0; margin: 1.2rem 0 0; }
nav a { text-decoration: none; }
nav a:hover { text-decoration: underline; }
.table { overflow-x: auto; margin: 1.4rem 0 1.8rem; }
table {
  border-collapse: collapse; min-width: min(100%, 38rem);
  font: .84rem/1.35 system-ui, "Segoe UI", "DejaVu Sans", Helvetica, Arial, sans-serif;
}
caption {
  text-align: left; caption-side: top; padding: 0 0 .55rem; color: var(--ink);
  position: sticky; left: 0; max-width: min(44rem, 100vw - 2.5rem);
  font: .94rem/1.45 Charter, "Bitstream Charter", "Iowan Old Style", Palatino, "DejaVu Serif", Georgia, serif;
}
thead { border-top: 2px solid var(--rule); border-bottom: 1px solid var(--rule); }
tbody:last-child { border-bottom: 2px solid var(--rule); }
th, td { padding: .26rem .6rem; text-align: left; vertical-align: top; font-weight: normal; }
thead th { font-weight: 600; vertical-align: bottom; }
thead th.group { text-align: center; border-bottom: 1px solid var(--line); }
th.number, td.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums lining-nums; }
th.starts, td.starts { padding-left: 1.3rem; }
td.faint { color: var(--soft); }
tr.over th { font-weight: 600; background: var(--band); border-top: 1px solid var(--line); padding-top: .38rem; }
tbody tr:not(.over):hover { background: var(--band); }
figure { margin: 1.6rem 0 2rem; }
figure img { display: block; max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
@media (prefers-color-scheme: dark) { figure img { padding: 6px; filter: brightness(.92); } }
figcaption { max-width: 44rem; margin-top: .6rem; font-size: .94rem; line-height: 1.45; }
@media (max-width: 40rem) {
  body { font-size: 16px; }
  main { padding: 1.4rem 1rem 3rem; }
  h1 { font-size: 1.5rem; }
  table { font-size: .76rem; }
  th, td { padding: .24rem .42rem; }
  th.starts, td.starts { padding-left: .8rem; }
}
@media print {
  :root {
    --paper: #fff; --ink: #000; --soft: #444; --line: #bbb; --rule: #000; --link: #000;
    --band: #f2f2f2; --warn: #fff; --warn-line: #000;
  }
  @page { margin: 16mm; }
  html { font-size: 13px; }
  body { font-size: 1rem; }
  main { max-width: none; padding: 0; }
  nav { display: none; }
  .table { overflow: visible; break-inside: avoid; }
  table { font-size: 8pt; }
  th, td { padding: .12rem .34rem; }
  h2, caption { break-after: avoid; }
  figure, tr, p.warning { break-inside: avoid; }
  thead { display: table-header-group; }
  figure img { max-height: 220mm; width: auto; padding: 0; filter: none; }
}
"""


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
    lines = [
        f'<div class="table" tabindex="0" role="region" aria-label="{html.escape(without_markup(table.caption))}">'
    ]
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
