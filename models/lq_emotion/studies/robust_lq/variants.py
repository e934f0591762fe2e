"""Nets outside Table 1: the domain mismatch and the max-mix ablations.

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

from lq_emotion.metrics.regression import Score
from lq_emotion.nets.names import Method
from lq_emotion.studies.robust_lq.recipes import Variant
from lq_emotion.studies.robust_lq.results import StudyResults, VariantResults

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


def best(rows: Rows) -> dict[int, str]:
    """Return the name of the row with the highest CCC at each factor."""
    winners: dict[int, tuple[float, str]] = {}
    for name, cells in rows.items():
        for s, seeds in cells.items():
            if (ccc := mean_ccc(seeds)) and (s not in winners or ccc[0] > winners[s][0]):
                winners[s] = ccc[0], name
    return {s: name for s, (_, name) in winners.items()}
