"""What the numbers of Table 1 can bear: intervals over recordings, and Joint-OA against the other methods."""

from __future__ import annotations

from collections.abc import Iterator

from lq_emotion.common.document import Block, Column, Row, Table, Text, number, row
from lq_emotion.report.parts import Absent
from lq_emotion.studies.robust_lq.comparisons import (
    Comparisons,
    Difference,
    Estimate,
    explain_differences,
    explain_estimates,
)
from lq_emotion.studies.robust_lq.store import Store


def comparisons(store: Store) -> Iterator[Block]:
    """Yield the intervals of CCC, and the differences.

    Raises
    ------
    Absent
    """
    results = store.comparisons
    if results is None:
        raise Absent("No intervals and tests: `lq-emotion study robust-lq` computes them.")
    yield Text(explain_estimates(results))
    yield _estimates(results)
    if results.differences:
        yield Text(explain_differences(results))
        yield _differences(results)


def _estimates(results: Comparisons) -> Table:
    cells = {(cell.method, cell.factor): cell.scores["ccc"] for cell in results.cells}
    factors = sorted({factor for _, factor in cells})
    columns = (Column("CCC", number=False), *(Column(f"s = {s}" if s > 1 else "HR", "tested on") for s in factors))
    rows = (
        row(method, *(_estimate(cells.get((method, s))) for s in factors))
        for method in dict.fromkeys(cell.method for cell in results.cells)
    )
    return Table("CCC with its spread over seeds and its interval over recordings.", columns, tuple(rows))


def _estimate(estimate: Estimate | None) -> str:
    if estimate is None or estimate.mean is None:
        return "–"
    spread = "" if estimate.deviation is None else f" ± {number(estimate.deviation)}"
    return f"{number(estimate.mean)}{spread} [{number(estimate.low)}, {number(estimate.high)}]"


def _differences(results: Comparisons) -> Table:
    columns = (
        Column("Joint-OA less", number=False),
        Column("CCC"),
        Column("interval"),
        Column("p"),
        Column("p (Holm, all tests)"),
        Column("paper"),
        Column("paper's exceeds", number=False),
    )
    rows: list[Row] = []
    for other in dict.fromkeys(difference.other for difference in results.differences):
        rows.append(Row(group=other))
        rows += [_difference(difference) for difference in results.differences if difference.other == other]
    return Table("CCC of Joint-OA less that of another method on the same crops.", columns, tuple(rows))


def _difference(difference: Difference) -> Row:
    exceeds = {None: "–", True: "yes", False: "no"}[difference.exceeds]
    return row(
        f"s = {difference.factor}",
        number(difference.difference, sign=True),
        f"{number(difference.low, sign=True)} to {number(difference.high, sign=True)}",
        number(difference.p),
        number(difference.holm),
        number(difference.published, sign=True),
        exceeds,
    )
