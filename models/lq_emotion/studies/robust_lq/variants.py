"""What the paper says of nets that are not in Table 1, measured: the domain mismatch, and what max-mix owes to what.

ROOT/study/variants.json holds `VariantResults`; variants.md has three tables of CCC:

- section 3.2: the net trained on HR faces, shown LR ones, beside nets that were trained on LR faces;
- footnote 1: Joint-OA's mixture, beside a mixture of all factors and each factor alone, all from the super-resolution
  learnt at the largest factor;
- section 4.1, question 2: that super-resolution, beside one learnt at the factor of the test.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from caffe_compat.formats.files import atomic_path
from lq_emotion.common.json_files import write_json
from lq_emotion.nets.names import Method
from lq_emotion.studies.robust_lq.recipes import Variant
from lq_emotion.studies.robust_lq.results import MeasuredScores, StudyResults, VariantResults
from lq_emotion.studies.robust_lq.table import title

Seeds = Sequence[MeasuredScores]
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
        best = {s: max(_means(rows, s), default=None) for s in results.scales}
        for name, cells in rows.items():
            shown = (_shown(cells.get(s, ()), best[s]) for s in results.scales)
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
        yield "Trained on HR, tested on LR", {"HR": mismatch, "LR-s": lr, "Joint-s": joint, oa: one_for_all}
    if every := measured.get((Variant.MAX_ALL, 0)):
        yield "One net for all factors: which factors to mix", {oa: one_for_all, "Max-all": every, **max_s}
    if same := measured.get((Variant.MIX_FROM_S, 0)):
        own = {s: measured[Variant.MAX_S, s][s] for s in results.scales if (Variant.MAX_S, s) in measured}
        rows = {"Joint-s": joint, "Max-s": own, "Mix-from-s": same, oa: one_for_all}
        yield f"Super-resolution learnt at s, and at {results.max_factor}", rows


def _ccc(seeds: Seeds) -> list[float]:
    return [scores.ccc for scores in seeds if scores.ccc is not None]


def _means(rows: Rows, s: int) -> list[float]:
    return [statistics.fmean(values) for cells in rows.values() if (values := _ccc(cells.get(s, ())))]


def _shown(seeds: Seeds, best: float | None) -> str:
    values = _ccc(seeds)
    if not values or len(values) < len(seeds):
        return "–"
    mean = statistics.fmean(values)
    text = f"{mean:.3f}"
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return (f"**{text}**" if mean == best else text) + spread
