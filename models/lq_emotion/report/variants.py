"""What the paper says of nets that are not in Table 1, beside what was measured."""

from __future__ import annotations

import math
from collections.abc import Iterator

from lq_emotion.common.document import Block, Cell, Column, Table, Text, number, row
from lq_emotion.report.parts import Absent
from lq_emotion.studies.robust_lq.store import Store
from lq_emotion.studies.robust_lq.variants import Rows, Seeds, best, mean_ccc, tables

_CLAIMS = {
    "Trained on HR, tested on LR": (
        "Section 3.2: a CNN trained on HR images has “degraded performance when tested on LR images, due to the domain "
        "mismatch”."
    ),
    "One net for all factors": (
        "Footnote 1: mixing all factors “does not lead to the optimal performance”, and 3, 4 and 6 are “better than "
        "fine-tuning with any single s”. Max-s is fine-tuned with s alone, Max-all with all factors."
    ),
    "Super-resolution learnt at s": (
        "Section 4.1 conjectures that super-resolution learnt at the largest factor gives more robust filters. Joint-s "
        "and Max-s are fine-tuned with s alone, Mix-from-s and Joint-OA with the mixture."
    ),
}


def variants(store: Store) -> Iterator[Block]:
    """Yield a table for each of the paper's statements that was tried.

    Raises
    ------
    Absent
    """
    if store.table is None or store.variants is None:
        raise Absent("No other nets than those of Table 1: `lq-emotion study robust-lq` trains and scores them.")
    for heading, rows in tables(store.table, store.variants):
        yield Text(next(text for start, text in _CLAIMS.items() if heading.startswith(start)))
        yield _table(heading, rows, store.table.scales)


def _table(heading: str, rows: Rows, scales: tuple[int, ...]) -> Table:
    winners = best(rows)
    columns = (Column("CCC", number=False), *(Column(f"s = {s}", "tested on LR-s") for s in scales))
    lines = (
        row(name, *(_cell(cells.get(s, ()), strong=winners.get(s) == name) for s in scales))
        for name, cells in rows.items()
    )
    return Table(f"{heading}. Best of each factor in bold; ± is over seeds.", columns, tuple(lines))


def _cell(seeds: Seeds, *, strong: bool) -> Cell:
    ccc = mean_ccc(seeds)
    if ccc is None:
        return Cell("–")
    text = number(ccc[0])
    return Cell(text if math.isnan(ccc[1]) else f"{text} ± {number(ccc[1])}", strong)
