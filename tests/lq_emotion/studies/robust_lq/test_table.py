"""Table 1 as text, LaTeX, CSV and a figure, the best of each factor in bold; and the tables of the nets outside of it."""

import csv
import json
from dataclasses import astuple, replace
from pathlib import Path

from PIL import Image

from lq_emotion.metrics.regression import Score
from lq_emotion.nets.names import FACTORS, Method
from lq_emotion.studies.robust_lq.plan import StudyPlan
from lq_emotion.studies.robust_lq.published import compare, published
from lq_emotion.studies.robust_lq.recipes import Variant
from lq_emotion.studies.robust_lq.results import CellResult, StudyResults, VariantResult, VariantResults
from lq_emotion.studies.robust_lq.tables import (
    best,
    column,
    draw,
    latex,
    page_markdown,
    table_markdown,
    variant_tables,
    write_csv,
)


def cell(method, factor, *scores):
    measured = Score(*scores, frames=10)
    published, difference = compare(measured, method, factor)
    return CellResult(
        method=method, factor=factor, run="", test="", scores="",
        measured=measured, published=published, difference=difference,
    )  # fmt: skip


RESULTS = StudyResults(
    synthetic=False, settings=StudyPlan(recordings=Path("AVEC_2016"), out=Path("root"), scales=(3, 5)), versions={},
    seconds={},
    cells=(
        cell(Method.HR, 1, 0.2, 0.5, 0.4),
        cell(Method.JOINT_OA, 3, 0.1, 0.6, 0.3),
        cell(Method.LR, 3, 0.3, None, 0.0),
        cell(Method.LR, 5, 0.15, 0.1, 0.45),
    ),
)  # fmt: skip


def test_the_published_numbers_are_the_papers():
    assert published(Method.HR, 8) == published(Method.HR, 3) == Score(0.146, 0.430, 0.325)
    assert published(Method.JOINT, 5) is None
    # what the text says of the table: the largest margins of Joint-OA over Joint-s are .050 (CC) and .035 (CCC), at s = 6
    margins = {
        s: [round(value, 3) for value in astuple(published(Method.JOINT_OA, s) - published(Method.JOINT, s))[:3]]
        for s in FACTORS
    }
    assert max(margins[s][2] for s in FACTORS) == margins[6][2] == 0.035
    assert margins[6][1] == 0.05


def test_a_column_holds_hr_and_its_factor_in_the_papers_order():
    assert [cell.method for cell in column(RESULTS, 3)] == ["HR", "LR", "Joint-OA"]
    assert [cell.method for cell in column(RESULTS, 5)] == ["HR", "LR"]


def test_the_best_is_the_lowest_error_and_the_highest_correlation():
    cells = column(RESULTS, 3)
    assert best(cells, "rmse") == [False, False, True]
    assert best(cells, "cc") == [False, False, True]
    assert best(cells, "ccc") == [True, False, False]
    assert best(cells, "ccc", "published") == [False, False, True]
    assert best(cells[1:2], "cc") == [False]


def test_markdown_has_measured_published_and_difference():
    text = table_markdown(RESULTS)
    assert "| Method | RMSE here | RMSE paper | RMSE Δ | CC here | CC paper | CC Δ |" in text
    assert "| HR | 0.200 | 0.146 | +0.054 | 0.500 | **0.430** | +0.070 | **0.400** | 0.325 | +0.075 |" in text
    assert "| LR-3 | 0.300 | 0.142 | +0.158 | – | 0.392 | – | 0.000 | 0.302 | −0.302 |" in text
    assert (
        "| Joint-OA | **0.100** | **0.129** | −0.029 | **0.600** | 0.399 | +0.201 | 0.300 | **0.328** | −0.028 |"
        in text
    )
    assert "SYNTHETIC" not in text
    assert "SYNTHETIC" in table_markdown(replace(RESULTS, synthetic=True))


def test_latex_has_the_published_numbers_in_parentheses():
    text = latex(RESULTS)
    assert r"$s = 3$ & HR & LR-3 & Joint-OA \\" in text
    assert r"CCC & \textbf{0.400} (0.325) & 0.000 (0.302) & 0.300 (0.328) \\" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2


def test_csv_has_a_row_for_every_number(tmp_path):
    write_csv(RESULTS, tmp_path / "t.csv")
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    assert len(rows) == 4 * 3
    assert rows[0] == {
        "method": "HR", "factor": "", "measure": "rmse", "measured": "0.2", "spread": "", "published": "0.146",
        "difference": "0.054",
    }  # fmt: skip
    assert rows[-1]["published"] == ""


def test_the_figure_is_drawn(tmp_path):
    draw(RESULTS, tmp_path / "t.png")
    with Image.open(tmp_path / "t.png") as figure:
        assert len(figure.convert("RGB").getcolors(1 << 20)) > 50


def test_results_read_back_from_table_json():
    assert StudyResults.from_json(json.loads(json.dumps(RESULTS.to_json()))) == RESULTS


def test_several_seeds_are_shown_by_their_mean_and_standard_deviation():
    seeds = (Score(0.2, 0.5, 0.40, 10), Score(0.2, 0.5, 0.44, 10))
    hr = replace(cell(Method.HR, 1, 0.2, 0.5, 0.42), seeds=seeds)
    undefined = replace(cell(Method.LR, 3, 0.3, None, 0.0), seeds=(seeds[0], Score(0.3, None, 0.0, 10)))
    text = table_markdown(
        replace(RESULTS, settings=replace(RESULTS.settings, seeds=2, scales=(3,)), cells=(hr, undefined))
    )
    assert "| **0.420 ± 0.028** | **0.325** |" in text
    assert "| **0.500 ± 0.000** | **0.430** |" in text
    assert "mean of 2 seeds" in text


def scores(*ccc):
    return tuple(Score(0.1, value, value, 10) for value in ccc)


def seeded(method, factor, *ccc):
    return replace(cell(method, factor, 0.1, *2 * ccc[:1]), published=None, difference=None, seeds=scores(*ccc))


def variant(kind, factor, tested, *ccc):
    return VariantResult(kind, factor, tested, "", scores(*ccc)[0], scores(*ccc))


SEEDED = StudyResults(
    synthetic=True,
    settings=StudyPlan(recordings=Path("recordings"), out=Path("root"), seeds=2, scales=(3, 12), mixture=(3,)),
    versions={}, seconds={},
    cells=(
        seeded(Method.HR, 1, 0.9, 0.9),
        seeded(Method.LR, 3, 0.5, 0.7),
        seeded(Method.JOINT, 12, 0.2, 0.2),
        seeded(Method.JOINT_OA, 3, 0.7, 0.9),
        seeded(Method.JOINT_OA, 12, 0.1, None),
    ),
)  # fmt: skip


def shown(results, variants):
    return page_markdown("t", "s", list(variant_tables(results, variants)))


def test_the_net_of_hr_faces_stands_beside_those_of_lr_faces():
    text = shown(SEEDED, VariantResults((variant(Variant.HR_ON_LR, 3, 3, 0.3, 0.3),)))
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
    text = shown(SEEDED, VariantResults(cells))
    assert "| Max-3 | 0.600 ± 0.000 | 0.000 ± 0.000 |" in text
    assert "| Max-12 | 0.100 ± 0.000 | **0.400 ± 0.000** |" in text
    assert "| Max-all | 0.500 ± 0.000 | – |" in text
    same = (*cells, variant(Variant.MIX_FROM_S, 3, 3, 0.2, 0.2))
    text = shown(SEEDED, VariantResults(same))
    assert "Super-resolution learnt at s, and at 12. Best" in text
    assert "| Max-s | 0.600 ± 0.000 | **0.400 ± 0.000** |" in text


def test_one_seed_has_no_spread():
    first = tuple(replace(cell, seeds=cell.seeds[:1]) for cell in SEEDED.cells)
    text = shown(
        replace(SEEDED, settings=replace(SEEDED.settings, seeds=1), cells=first),
        VariantResults((variant(Variant.HR_ON_LR, 3, 3, 0.3),)),
    )
    assert "±" not in text
    assert "| Joint-OA (3) | **0.700** | 0.100 |" in text
