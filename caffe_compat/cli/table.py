"""Plain text tables."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence

from caffe_compat.errors import printable


def write_table(table: Sequence[tuple[str, ...]], right: Collection[int] = ()) -> None:
    """Write rows to stdout in aligned columns; the columns whose indices are in `right` are right-aligned."""
    table = [tuple(map(printable, row)) for row in table]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        sys.stdout.write("  ".join(cells).rstrip() + "\n")


def markdown_table(heading: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a table in Markdown."""
    cells = ([printable(cell).replace("|", "\\|") for cell in row] for row in rows)
    lines = [f"| {' | '.join(heading)} |", f"|{'---|' * len(heading)}", *(f"| {' | '.join(row)} |" for row in cells)]
    return "\n".join(lines) + "\n"
