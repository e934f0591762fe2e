"""Table 1: measured and published scores, as CSV, Markdown, LaTeX and a figure.

ROOT/table/table.json holds `StudyResults`, from which everything else is made. Scores are of all development recordings
as one sequence, in AVEC's convention, as in the paper; of several seeds' nets, the mean and the standard deviation.
"""

from __future__ import annotations

import csv
import statistics
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

from caffe_compat.formats.files import atomic_path
from lq_emotion.common.plots import new_figure, save
from lq_emotion.metrics.regression import MEASURES
from lq_emotion.nets.names import Method
from lq_emotion.nets.switches import describe_settings
from lq_emotion.studies.robust_lq.results import CellResult, StudyResults

TITLES = {"rmse": "RMSE", "cc": "CC", "ccc": "CCC"}


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
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("method", "factor", "measure", "measured", "spread", "published", "difference"))
        for cell in results.cells:
            factor = "" if cell.method is Method.HR else cell.factor
            for name in MEASURES:
                row = [value_of(cell, which, name) for which in ("measured", "published", "difference")]
                row.insert(1, spread_of(cell, name))
                writer.writerow((cell.method, factor, name, *("" if v is None else f"{v:.6g}" for v in row)))


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
