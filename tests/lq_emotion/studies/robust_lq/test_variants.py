"""The tables beside Table 1: which nets stand in which, and what is left out."""

from dataclasses import replace
from pathlib import Path

from lq_emotion.metrics.regression import Score
from lq_emotion.nets.names import Method
from lq_emotion.studies.robust_lq.plan import StudyPlan
from lq_emotion.studies.robust_lq.recipes import Variant
from lq_emotion.studies.robust_lq.results import CellResult, StudyResults, VariantResult, VariantResults
from lq_emotion.studies.robust_lq.tables import page_markdown, variant_tables


def scores(*ccc):
    return tuple(Score(0.1, value, value, 10) for value in ccc)


def cell(method, factor, *ccc):
    return CellResult(
        method=method, factor=factor, run="", test="", scores="", measured=scores(*ccc)[0], published=None,
        difference=None, seeds=scores(*ccc),
    )  # fmt: skip


def variant(kind, factor, tested, *ccc):
    return VariantResult(kind, factor, tested, "", scores(*ccc)[0], scores(*ccc))


RESULTS = StudyResults(
    synthetic=True,
    settings=StudyPlan(recordings=Path("recordings"), out=Path("root"), seeds=2, scales=(3, 12), mixture=(3,)),
    versions={}, seconds={},
    cells=(
        cell(Method.HR, 1, 0.9, 0.9),
        cell(Method.LR, 3, 0.5, 0.7),
        cell(Method.JOINT, 12, 0.2, 0.2),
        cell(Method.JOINT_OA, 3, 0.7, 0.9),
        cell(Method.JOINT_OA, 12, 0.1, None),
    ),
)  # fmt: skip


def shown(results, variants):
    return page_markdown("t", "s", list(variant_tables(results, variants)))


def test_the_net_of_hr_faces_stands_beside_those_of_lr_faces():
    text = shown(RESULTS, VariantResults((variant(Variant.HR_ON_LR, 3, 3, 0.3, 0.3),)))
    assert text.count("Best of each factor in bold") == 1
    assert "| HR on LR | 0.300 ± 0.000 | – |" in text
    assert "| LR-s | 0.600 ± 0.141 | – |" in text
    assert "| Joint-OA (3) | **0.800 ± 0.141** | – |" in text  # undefined for one seed: no mean


def test_a_net_of_one_factor_is_tested_on_all_of_them():
    cells = (
        variant(Variant.MAX_S, 3, 3, 0.6, 0.6),
        variant(Variant.MAX_S, 3, 12, 0.0, 0.0),
        variant(Variant.MAX_S, 12, 3, 0.1, 0.1),
        variant(Variant.MAX_S, 12, 12, 0.4, 0.4),
        variant(Variant.MAX_ALL, 3, 3, 0.5, 0.5),
    )
    text = shown(RESULTS, VariantResults(cells))
    assert "| Max-3 | 0.600 ± 0.000 | 0.000 ± 0.000 |" in text
    assert "| Max-12 | 0.100 ± 0.000 | **0.400 ± 0.000** |" in text
    assert "| Max-all | 0.500 ± 0.000 | – |" in text
    same = (*cells, variant(Variant.MIX_FROM_S, 3, 3, 0.2, 0.2))
    text = shown(RESULTS, VariantResults(same))
    assert "Super-resolution learnt at s, and at 12. Best" in text
    assert "| Max-s | 0.600 ± 0.000 | **0.400 ± 0.000** |" in text


def test_one_seed_has_no_spread():
    first = tuple(replace(cell, seeds=cell.seeds[:1]) for cell in RESULTS.cells)
    text = shown(
        replace(RESULTS, settings=replace(RESULTS.settings, seeds=1), cells=first),
        VariantResults((variant(Variant.HR_ON_LR, 3, 3, 0.3),)),
    )
    assert "±" not in text
    assert "| Joint-OA (3) | **0.700** | 0.100 |" in text
