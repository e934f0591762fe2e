"""Tables of the study, as blocks of a document that its files and the report render; Table 1 in other forms, too.

Scores of Table 1 are of all development recordings as one sequence, in AVEC's convention, as in the paper; of several
seeds' nets, the mean and the standard deviation.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path

from caffe_compat.formats.files import atomic_path
from lq_emotion.common.document import Block, Cell, Column, Report, Row, Section, Table, Text, number, row
from lq_emotion.common.json_files import write_json
from lq_emotion.common.lists import write_rows
from lq_emotion.common.markdown import markdown
from lq_emotion.common.plots import new_figure, save
from lq_emotion.metrics.regression import MEASURES, Score
from lq_emotion.nets.names import Method
from lq_emotion.nets.switches import describe_settings
from lq_emotion.studies.robust_lq.comparisons import (
    Comparisons,
    Difference,
    Estimate,
    explain_differences,
    explain_estimates,
)
from lq_emotion.studies.robust_lq.recipes import Variant
from lq_emotion.studies.robust_lq.results import CellResult, StudyResults, VariantResults

TITLES = {"rmse": "RMSE", "cc": "CC", "ccc": "CCC"}
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
    for name, text in {"table.md": table_markdown(results), "table.tex": latex(results)}.items():
        with atomic_path(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")
    draw(results, folder / "table.png")


def table_markdown(results: StudyResults) -> str:
    """Return table.md."""
    return page_markdown(title(results), "Measured and published", [table_1(results)])


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


def column(results: StudyResults, factor: int) -> list[CellResult]:
    """Return the cells of one factor, HR first, in the paper's order."""
    cells = [cell for cell in results.cells if cell.factor == factor or cell.method is Method.HR]
    return sorted(cells, key=lambda cell: list(Method).index(cell.method))


def value_of(cell: CellResult, which: str, measure: str) -> float | None:
    """Return a number of a cell: `measure` of its ``measured``, ``published`` or ``difference``."""
    values = getattr(cell, which)
    return None if values is None else getattr(values, measure)


def spread_of(cell: CellResult, measure: str) -> float | None:
    """Return the standard deviation of a measure over seeds; None for fewer than two, or where one is undefined."""
    values = [getattr(scores, measure) for scores in cell.seeds]
    return statistics.stdev(values) if len(values) > 1 and None not in values else None


def best(column: Sequence[CellResult], measure: str, which: str = "measured") -> list[bool]:
    """Return which cells of a column are the best: lowest RMSE, highest CC and CCC."""
    values = [value_of(cell, which, measure) for cell in column]
    numbers = [value for value in values if value is not None]
    if not numbers:
        return [False] * len(values)
    optimum = min(numbers) if measure == "rmse" else max(numbers)
    return [value == optimum for value in values]


def write_csv(results: StudyResults, path: Path) -> None:
    """Write a row per cell and measure."""
    rows: list[Sequence[object]] = [("method", "factor", "measure", "measured", "spread", "published", "difference")]
    for cell in results.cells:
        factor = "" if cell.method is Method.HR else cell.factor
        for name in MEASURES:
            row = [value_of(cell, which, name) for which in ("measured", "published", "difference")]
            row.insert(1, spread_of(cell, name))
            rows.append((cell.method, factor, name, *("" if v is None else f"{v:.6g}" for v in row)))
    write_rows(rows, path)


def title(results: StudyResults) -> str:
    """Return one line about the origin of the numbers."""
    what = "SYNTHETIC recordings: no statement about people" if results.synthetic else results.settings.recordings
    switches = describe_settings(results.switches)
    late = f"; gold standard {results.settings.delay:g} s late" if results.settings.delay else ""
    seeds = (
        f"seed {results.settings.seed}" if results.settings.seeds == 1 else f"mean of {results.settings.seeds} seeds"
    )
    settings = f"preset {results.settings.preset}, {seeds}"
    of = "" if results.dimension == "valence" else f", of {results.dimension},"
    return f"Table 1{of} on {what}; {settings}{late}" + (switches and f"; {switches}")


def _shown(value: float | None, sign: str, form: str) -> str:
    return "–" if value is None else form.format(f"{value:{sign}.3f}")


def latex(results: StudyResults) -> str:
    """Return the table in the paper's form, published numbers in parentheses."""
    lines = [f"% {title(results)}", "% needs \\usepackage{booktabs}"]
    for factor in results.scales:
        cells = column(results, factor)
        lines += [f"\\begin{{tabular}}{{l{'r' * len(cells)}}}", "\\toprule"]
        lines += [f"$s = {factor}$ & " + " & ".join(cell.label for cell in cells) + " \\\\", "\\midrule"]
        for measure in MEASURES:
            row = []
            for cell, marked in zip(cells, best(cells, measure), strict=True):
                own = _shown(value_of(cell, "measured", measure), "", "\\textbf{{{}}}" if marked else "{}")
                paper = _shown(value_of(cell, "published", measure), "", " ({})")
                row.append(own + ("" if paper == "–" else paper))
            lines.append(f"{TITLES[measure]} & " + " & ".join(row) + " \\\\")
        lines += ["\\bottomrule", "\\end{tabular}", ""]
    return "\n".join(lines)


def draw(results: StudyResults, path: Path) -> None:
    """Draw CC and CCC against the factor, measured and published."""
    colours = dict(zip(Method, cycle(("#222222", "#c0392b", "#7f8c8d", "#2471a3", "#1e8449")), strict=False))
    figure = new_figure(11, 4.4)
    figure.suptitle(title(results), fontsize=10)
    for axes, measure in zip(figure.subplots(1, 2), ("cc", "ccc"), strict=True):
        for method in Method:
            cells = [cell for cell in results.cells if cell.method is method]
            for which, style in (("measured", "-o"), ("published", ":")):
                points = [
                    (factor, value)
                    for cell in cells
                    for factor in (results.scales if method is Method.HR else [cell.factor])
                    if (value := value_of(cell, which, measure)) is not None
                ]
                label = method if which == "measured" else None
                if points:
                    axes.plot(*zip(*points, strict=True), style, color=colours[method], label=label, markersize=4)
        axes.set(xlabel="factor s", ylabel=TITLES[measure], xticks=results.scales)
        axes.grid(alpha=0.25)
    axes.plot([], [], ":", color="0.4", label="published (AVEC 2016)")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=8)
    save(figure, path)


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
