"""What the paper says of nets that are not in Table 1, measured: the domain mismatch, and what max-mix owes to what.

ROOT/study/variants.json holds `VariantResults`; variants.md has three tables of CCC:

- section 3.2: the net trained on HR faces, shown LR ones, beside nets that were trained on LR faces;
- footnote 1: Joint-OA's mixture, beside a mixture of all factors and each factor alone, all from the super-resolution
  learnt at the largest factor;
- section 4.1, question 2: that super-resolution, beside one learnt at the factor of the test.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from caffe_compat.formats.files import atomic_path
from lq_emotion.common.json_files import write_json
from lq_emotion.metrics.regression import Score
from lq_emotion.nets.names import Method
from lq_emotion.studies.robust_lq.recipes import Variant
from lq_emotion.studies.robust_lq.results import StudyResults, VariantResults
from lq_emotion.studies.robust_lq.table import title

Seeds = Sequence[Score]
Rows = Mapping[str, Mapping[int, Seeds]]
"""Scores by the name of a row and the factor of the crops."""


def write_variants(results: StudyResults, variants: VariantResults, folder: Path) -> None:
    """Write variants.json, and its tables as variants.md."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(variants.to_json(), folder / "variants.json")
    with atomic_path(folder / "variants.md") as partial:
        partial.write_text(markdown(results, variants), encoding="utf-8")


def markdown(results: StudyResults, variants: VariantResults) -> str:
    """Return the tables as Markdown: CCC, of several seeds the mean and the standard deviation."""
    of = title(results).partition(" on ")[2]
    lines = [f"# Beside Table 1, on {of}", ""]
    for heading, rows in tables(results, variants):
        lines += [f"## {heading}", "", "| CCC | " + " | ".join(f"s = {s}" for s in results.scales) + " |"]
        lines.append("|---|" + "---:|" * len(results.scales))
        winners = best(rows)
        for name, cells in rows.items():
            shown = (_shown(cells.get(s, ()), is_best=winners.get(s) == name) for s in results.scales)
            lines.append(f"| {name} | " + " | ".join(shown) + " |")
        lines.append("")
    return "\n".join(lines)


def tables(results: StudyResults, variants: VariantResults) -> Iterator[tuple[str, Rows]]:
    """Yield the heading of each table with its rows; those without a variant that was run are left out."""
    table: dict[Method, dict[int, Seeds]] = {}
    for cell in results.cells:
        table.setdefault(cell.method, {})[cell.factor] = cell.seeds
    measured: dict[tuple[Variant, int], dict[int, Seeds]] = {}
    for variant in variants.cells:
        key = variant.variant, variant.factor if variant.variant is Variant.MAX_S else 0
        measured.setdefault(key, {})[variant.tested] = variant.seeds
    lr, joint, one_for_all = (table.get(m, {}) for m in (Method.LR, Method.JOINT, Method.JOINT_OA))
    max_s = {f"Max-{s}": measured[Variant.MAX_S, s] for s in results.scales if (Variant.MAX_S, s) in measured}
    oa = f"Joint-OA ({', '.join(map(str, results.mixture))})"
    if mismatch := measured.get((Variant.HR_ON_LR, 0)):
        yield "Trained on HR, tested on LR", {Variant.HR_ON_LR: mismatch, "LR-s": lr, "Joint-s": joint, oa: one_for_all}
    if every := measured.get((Variant.MAX_ALL, 0)):
        yield "One net for all factors: which factors to mix", {oa: one_for_all, "Max-all": every, **max_s}
    if same := measured.get((Variant.MIX_FROM_S, 0)):
        own = {s: measured[Variant.MAX_S, s][s] for s in results.scales if (Variant.MAX_S, s) in measured}
        rows = {"Joint-s": joint, "Max-s": own, "Mix-from-s": same, oa: one_for_all}
        yield f"Super-resolution learnt at s, and at {results.max_factor}", rows


def mean_ccc(seeds: Seeds) -> tuple[float, float] | None:
    """Return mean and standard deviation (NaN of one seed) of CCC; None if it is undefined for a seed."""
    values = [scores.ccc for scores in seeds if scores.ccc is not None]
    if not values or len(values) < len(seeds):
        return None
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else math.nan


def best(rows: Rows) -> dict[int, str]:
    """Return the name of the row with the highest CCC at each factor."""
    winners: dict[int, tuple[float, str]] = {}
    for name, cells in rows.items():
        for s, seeds in cells.items():
            if (ccc := mean_ccc(seeds)) and (s not in winners or ccc[0] > winners[s][0]):
                winners[s] = ccc[0], name
    return {s: name for s, (_, name) in winners.items()}


def _shown(seeds: Seeds, *, is_best: bool) -> str:
    ccc = mean_ccc(seeds)
    if ccc is None:
        return "–"
    text = f"**{ccc[0]:.3f}**" if is_best else f"{ccc[0]:.3f}"
    return text if math.isnan(ccc[1]) else f"{text} ± {ccc[1]:.3f}"
