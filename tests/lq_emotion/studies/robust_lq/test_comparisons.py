"""Estimates of cells, Joint-OA against the other methods, and their tables."""

import numpy as np
import pytest

from lq_emotion.metrics.uncertainty import Moments, holm, joined_score
from lq_emotion.nets.names import Method
from lq_emotion.studies.robust_lq.comparisons import Comparisons, compare_methods
from lq_emotion.studies.robust_lq.recipes import Variant
from lq_emotion.studies.robust_lq.tables import comparison_tables, page_markdown
from tests.refusals import refused

NOISE = {Method.JOINT_OA: 0.1, Method.LR: 0.4, Method.NON_JOINT: 0.1, Variant.HR_ON_LR: 2.0}
NAMES = [f"dev_{i}" for i in range(1, 8)]


def predicted(noise, seed, names=NAMES):
    rng = np.random.default_rng([int(100 * noise), seed])
    moments = {}
    for i, name in enumerate(names):
        gold = np.sin(np.arange(40 + i) / (3 + i))
        moments[name] = Moments.of(gold + noise * rng.standard_normal(gold.size), gold)
    return moments


@pytest.fixture(scope="module")
def moments():
    cells = {
        (method, s): {k: predicted(noise * s, k) for k in (0, 1)} for s in (3, 4) for method, noise in NOISE.items()
    }
    return cells | {(Method.HR, 1): {0: predicted(0.1, 0)}}


@pytest.fixture(scope="module")
def comparisons(moments):
    return compare_methods(moments, resamples=199)


def test_a_cell_has_mean_and_deviation_over_seeds_and_an_interval(moments, comparisons):
    cell = next(cell for cell in comparisons.cells if (cell.method, cell.factor) == ("LR", 3))
    ccc = [joined_score(list(moments[Method.LR, 3][seed].values())).ccc for seed in (0, 1)]
    assert (cell.seeds, cell.recordings) == ((0, 1), 7)
    assert cell.scores["ccc"].mean == pytest.approx(sum(ccc) / 2)
    assert cell.scores["ccc"].deviation == pytest.approx(abs(ccc[0] - ccc[1]) / 2**0.5)
    assert cell.scores["ccc"].low < cell.scores["ccc"].mean < cell.scores["ccc"].high
    hr = comparisons.cells[-1]
    assert (hr.method, hr.factor, hr.scores["ccc"].deviation) == ("HR", 1, None)


def test_joint_oa_is_compared_with_every_other_method_on_the_same_crops(comparisons):
    rows = {(row.other, row.factor): row for row in comparisons.differences}
    assert list(rows) == [(other, s) for other in ("LR", "Non-Joint", "HR on LR") for s in (3, 4)]
    better, mismatch = rows["LR", 3], rows["HR on LR", 3]
    assert (better.p, better.arrangements, better.exact) == (2 / 128, 128, True)
    assert 0 < better.low < better.difference < better.high
    assert better.holm == holm([row.p for row in comparisons.differences])[0]
    assert (mismatch.published, mismatch.exceeds) == (None, None)


def test_the_papers_difference_is_set_against_half_the_width_of_the_interval(comparisons):
    rows = {(row.other, row.factor): row for row in comparisons.differences}
    assert rows["LR", 3].published == 0.026  # .328 - .302
    assert rows["Non-Joint", 4].published == 0.046  # .327 - .281
    for row in rows.values():
        assert row.exceeds == (None if row.published is None else row.published > (row.high - row.low) / 2)


def test_arousal_has_no_published_difference(moments):
    assert {row.published for row in compare_methods(moments, resamples=9, dimension="arousal").differences} == {None}


def test_a_cell_does_not_depend_on_the_others(moments, comparisons):
    alone = compare_methods({(Method.LR, 3): moments[Method.LR, 3]}, resamples=199)
    assert alone.cells[0] == comparisons.cells[1]
    assert alone.differences == ()


def test_the_record_is_read_back(comparisons):
    assert Comparisons.from_json(comparisons.to_json()) == comparisons


def test_tables_as_markdown(comparisons, moments):
    def shown(results):
        return page_markdown("t", "s", list(comparison_tables(results)))

    text = shown(comparisons)
    assert "| CCC | tested on HR | tested on s = 3 | tested on s = 4 |" in text
    assert text.count("\n| LR | – | ") == 3
    row = next(line for line in text.splitlines() if line.startswith("| s = 3 | +0."))
    assert "| 0.016 | 0.094 | +0.026 |" in row
    assert [line for line in text.splitlines() if line.startswith("| s = ")][-1].endswith("| – | – |")
    assert "7 recordings it cannot be below 0.016" in text
    assert "Joint-OA less" not in shown(compare_methods({(Method.LR, 3): moments[Method.LR, 3]}, resamples=9))


def test_constant_predictions_have_no_cc_and_a_difference_all_the_same(moments):
    gold = np.sin(np.arange(40))
    constant = {name: Moments.of(np.zeros(40), gold) for name in NAMES}
    other = {name: Moments.of(gold / 2, gold) for name in NAMES}
    actual = compare_methods({(Method.JOINT_OA, 3): {0: constant}, (Method.LR, 3): {0: other}}, resamples=199)
    assert actual.cells[0].scores["cc"].mean is actual.cells[0].scores["cc"].low is None
    assert actual.differences[0].p == pytest.approx(2 / 128)


def test_other_recordings_are_refused(moments):
    shorter = {0: predicted(0.4, 0, NAMES[:-1])}
    with refused("mismatch", field="recordings", value="dev_7"):
        compare_methods({(Method.JOINT_OA, 3): moments[Method.JOINT_OA, 3], (Method.LR, 3): shorter}, resamples=9)
    with refused("mismatch", field="recordings", value="dev_7"):
        compare_methods({(Method.LR, 3): {0: predicted(0.4, 0), 1: shorter[0]}}, resamples=9)
    with refused("mismatch", field="seeds"):
        compare_methods({(Method.JOINT_OA, 3): {0: shorter[0]}, (Method.LR, 3): {1: shorter[0]}}, resamples=9)
