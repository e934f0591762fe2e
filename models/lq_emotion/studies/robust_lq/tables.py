"""The study's tables, as blocks of a document that the study's files and the report render."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from caffe_compat.formats.files import atomic_path
from lq_emotion.common.document import Block, Cell, Column, Report, Row, Section, Table, Text, number, row
from lq_emotion.common.json_files import write_json
from lq_emotion.common.markdown import markdown
from lq_emotion.metrics.regression import MEASURES, Score
from lq_emotion.nets.names import Method
from lq_emotion.studies.robust_lq.comparisons import (
    Comparisons,
    Difference,
    Estimate,
    explain_differences,
    explain_estimates,
)
from lq_emotion.studies.robust_lq.recipes import Variant
from lq_emotion.studies.robust_lq.results import CellResult, StudyResults, VariantResults
from lq_emotion.studies.robust_lq.table import TITLES, best, column, draw, latex, spread_of, title, value_of, write_csv

_PARTS = {"measured": "here", "published": "paper", "difference": "Δ"}
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


def write_table(results: StudyResults, folder: Path) -> None:
    """Write table.json, .csv, .md, .tex and .png."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(results.to_json(), folder / "table.json")
    write_csv(results, folder / "table.csv")
    for name, text in (("table.md", table_markdown(results)), ("table.tex", latex(results))):
        with atomic_path(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")
    draw(results, folder / "table.png")


def table_markdown(results: StudyResults) -> str:
    """Return table.md."""
    return page_markdown(title(results), "Measured and published", [table_1(results)])


def write_markdown(heading: str, section: str, blocks: Iterator[Block], path: Path) -> None:
    """Write blocks as a Markdown file, complete or not at all."""
    with atomic_path(path) as partial:
        partial.write_text(page_markdown(heading, section, list(blocks)), encoding="utf-8")


def page_markdown(heading: str, section: str, blocks: list[Block]) -> str:
    """Return blocks as Markdown with a heading."""
    return markdown(Report(heading, (), (Section(section, tuple(blocks)),)), "")


def table_1(results: StudyResults) -> Table:
    """Return Table 1: a row for each method and factor; scores here, in the paper, and their difference."""
    columns = [Column("Method", number=False)]
    columns += [Column(part, TITLES[measure]) for measure in MEASURES for part in _PARTS.values()]
    rows = []
    for factor in results.scales:
        rows.append(Row(group=f"s = {factor}"))
        cells = column(results, factor)
        marked = {(m, w): best(cells, m, w) for m in MEASURES for w in ("measured", "published")}
        for place, cell in enumerate(cells):
            values = [
                _value(cell, measure, part, strong=marked.get((measure, part), [False] * len(cells))[place])
                for measure in MEASURES
                for part in _PARTS
            ]
            rows.append(row(cell.label, *values))
    of = results.dimension
    here = "Valence, here and in the paper." if of == "valence" else f"{of.capitalize()}, which the paper has not."
    seeds = (
        f" Here: mean ± standard deviation of {results.settings.seeds} trainings of each net."
        if results.settings.seeds > 1
        else ""
    )
    caption = f"**Table 1.** {here} Best of each factor in bold, for each of the two.{seeds}"
    return Table(caption, tuple(columns), tuple(rows))


def _value(cell: CellResult, measure: str, part: str, *, strong: bool) -> Cell:
    text = number(value_of(cell, part, measure), sign=part == "difference")
    spread = spread_of(cell, measure) if part == "measured" else None
    return Cell(
        text if spread is None else f"{text} ± {number(spread)}", strong, faint=part != "measured" and not strong
    )


def variant_tables(results: StudyResults, variants: VariantResults) -> Iterator[Block]:
    """Yield each statement of the paper that was tried, and the table of what was measured."""
    for heading, rows in rows_by_claim(results, variants):
        yield Text(next(text for start, text in _CLAIMS.items() if heading.startswith(start)))
        yield _variants(heading, rows, results.scales)


def _variants(heading: str, rows: Rows, scales: tuple[int, ...]) -> Table:
    winners = best_rows(rows)
    columns = (Column("CCC", number=False), *(Column(f"s = {s}", "tested on LR-s") for s in scales))
    lines = (
        row(name, *(_mean(cells.get(s, ()), strong=winners.get(s) == name) for s in scales))
        for name, cells in rows.items()
    )
    several = any(len(seeds) > 1 for cells in rows.values() for seeds in cells.values())
    spread = "; ± is over seeds" if several else ""
    return Table(f"{heading}. Best of each factor in bold{spread}.", columns, tuple(lines))


def _mean(seeds: Seeds, *, strong: bool) -> Cell:
    ccc = mean_ccc(seeds)
    if ccc is None:
        return Cell("–")
    text = number(ccc[0])
    return Cell(text if math.isnan(ccc[1]) else f"{text} ± {number(ccc[1])}", strong)


def comparison_tables(results: Comparisons) -> Iterator[Block]:
    """Yield the intervals of each score, and the differences of CCC, each with its explanation."""
    yield Text(explain_estimates(results))
    for measure in reversed(MEASURES):
        yield _estimates(results, measure)
    if results.differences:
        yield Text(explain_differences(results))
        yield _differences(results)


def _estimates(results: Comparisons, measure: str) -> Table:
    cells = {(cell.method, cell.factor): cell.scores[measure] for cell in results.cells}
    factors = sorted({factor for _, factor in cells})
    name = TITLES[measure]
    columns = (Column(name, number=False), *(Column(f"s = {s}" if s > 1 else "HR", "tested on") for s in factors))
    rows = (
        row(method, *(_estimate(cells.get((method, s))) for s in factors))
        for method in dict.fromkeys(cell.method for cell in results.cells)
    )
    return Table(f"{name} with its spread over seeds and its interval over recordings.", columns, tuple(rows))


def _estimate(estimate: Estimate | None) -> str:
    if estimate is None or estimate.mean is None:
        return "–"
    spread = "" if estimate.deviation is None else f" ± {number(estimate.deviation)}"
    interval = "" if estimate.low is None else f" [{number(estimate.low)}, {number(estimate.high)}]"
    return f"{number(estimate.mean)}{spread}{interval}"


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
    return row(
        f"s = {difference.factor}",
        number(difference.difference, sign=True),
        f"{number(difference.low, sign=True)} to {number(difference.high, sign=True)}",
        _p(difference.p),
        _p(difference.holm),
        number(difference.published, sign=True),
        {None: "–", True: "yes", False: "no"}[difference.exceeds],
    )


def _p(value: float | None) -> str:
    """Return a p-value with two digits, however small it is."""
    return number(value, 2) if value is None or value >= 0.1 else f"{value:.2g}"


Seeds = Sequence[Score]
Rows = Mapping[str, Mapping[int, Seeds]]
"""Scores by the name of a row and the factor of the crops."""


def rows_by_claim(results: StudyResults, variants: VariantResults) -> Iterator[tuple[str, Rows]]:
    """Yield the heading and rows of each table, one for each statement of the paper whose variants were trained."""
    table: dict[Method, dict[int, Seeds]] = {}
    for cell in results.cells:
        table.setdefault(cell.method, {})[cell.factor] = cell.seeds
    measured: dict[tuple[Variant, int], dict[int, Seeds]] = {}
    for variant in variants.cells:
        key = variant.variant, variant.factor if variant.variant is Variant.MAX_S else 0
        measured.setdefault(key, {})[variant.tested] = variant.seeds
    lr, joint, one_for_all = (table.get(m, {}) for m in (Method.LR, Method.JOINT, Method.JOINT_OA))
    max_s = {f"Max-{s}": measured[Variant.MAX_S, s] for s in results.scales if (Variant.MAX_S, s) in measured}
    oa = f"Joint-OA ({', '.join(map(str, results.settings.mixture))})"
    if mismatch := measured.get((Variant.HR_ON_LR, 0)):
        yield "Trained on HR, tested on LR", {Variant.HR_ON_LR: mismatch, "LR-s": lr, "Joint-s": joint, oa: one_for_all}
    if every := measured.get((Variant.MAX_ALL, 0)):
        yield "One net for all factors: which factors to mix", {oa: one_for_all, "Max-all": every, **max_s}
    if same := measured.get((Variant.MIX_FROM_S, 0)):
        own = {s: measured[Variant.MAX_S, s][s] for s in results.scales if (Variant.MAX_S, s) in measured}
        rows = {"Joint-s": joint, "Max-s": own, "Mix-from-s": same, oa: one_for_all}
        yield f"Super-resolution learnt at s, and at {results.settings.largest_factor}", rows


def mean_ccc(seeds: Seeds) -> tuple[float, float] | None:
    """Return mean and standard deviation (NaN of one seed) of CCC; None if it is undefined for a seed."""
    values = [scores.ccc for scores in seeds if scores.ccc is not None]
    if not values or len(values) < len(seeds):
        return None
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else math.nan


def best_rows(rows: Rows) -> dict[int, str]:
    """Return the name of the row with the highest CCC at each factor."""
    winners: dict[int, tuple[float, str]] = {}
    for name, cells in rows.items():
        for s, seeds in cells.items():
            if (ccc := mean_ccc(seeds)) and (s not in winners or ccc[0] > winners[s][0]):
                winners[s] = ccc[0], name
    return {s: name for s, (_, name) in winners.items()}
