"""The whole study by one command: every part is filled, and it ends the same however often it is interrupted."""

import json

import pytest

from tests.lq_emotion.commands import STUDY, assert_nothing_is_left_to_do, drawn_files, run
from tests.lq_emotion.processes import kill

pytestmark = pytest.mark.slow


def arguments(recordings, out, *more):
    nets = ["--scales", "3", "4", "--mixture", "3", "--max-factor", "4", "--seeds", "2"]
    coded = ["--qps", "24", "44", "--codecs", "x264", "--coded-frames", "30"]
    return [*STUDY, *drawn_files(recordings, out), *nets, *coded, "--preset", "small", "--iterations", "2", *more]


def numbers(out):
    table = json.loads((out / "table/table.json").read_text())["cells"]
    variants = json.loads((out / "study/variants.json").read_text())["cells"]
    points = json.loads((out / "rd/rd.json").read_text())["points"]
    return [(cell["run"], cell["test"], cell["seeds"]) for cell in table], variants, points


@pytest.fixture(scope="module")
def undisturbed(recordings, tmp_path_factory):
    out = tmp_path_factory.mktemp("a study") / "root"
    assert run(*arguments(recordings, out)) == 0
    return out


def test_one_command_fills_every_part_and_a_second_does_nothing(recordings, undisturbed, capsys):
    table, variants, points = numbers(undisturbed)
    assert len(table) == 1 + 4 * 2
    assert all(len(seeds) == 2 for _, _, seeds in table)
    tested = {(cell["variant"], cell["factor"], cell["tested"]) for cell in variants}
    assert tested == {
        *(("HR on LR", s, s) for s in (3, 4)),
        *(("Max", s, t) for s in (3, 4) for t in (3, 4)),
        *(("Max-all", s, s) for s in (3, 4)),
        *(("Mix-from", s, s) for s in (3, 4)),
    }
    assert {point["model"] for point in points} == {"HR on LR", "LR", "Non-Joint", "Joint", "Joint-OA"}
    assert {(point["scale"], point["qp"]) for point in points} == {(s, qp) for s in (3, 4) for qp in (24, 44, None)}
    comparisons = json.loads((undisturbed / "study/comparisons.json").read_text())
    assert len(comparisons["cells"]) == 1 + 4 * 2 + 2
    assert {(row["other"], row["factor"]) for row in comparisons["differences"]} == {
        (other, s) for other in ("LR", "Non-Joint", "Joint", "HR on LR") for s in (3, 4)
    }
    figures = [undisturbed / "study" / f"figure{number}.png" for number in (1, 2, 3)]
    assert all(path.is_file() for path in (*figures, undisturbed / "report/report.html"))
    report = (undisturbed / "report/report.md").read_text()
    assert all(f"**Figure {number}.**" in report for number in (1, 2, 3))
    assert "| Joint-OA less | CCC | interval" in report
    assert "Super-resolution learnt at s, and at 4. Best of each factor in bold" in report
    assert_nothing_is_left_to_do(capsys, *arguments(recordings, undisturbed))


def test_a_study_killed_at_ten_random_moments_ends_with_the_same_numbers(recordings, undisturbed, tmp_path):
    assert kill(arguments(recordings, tmp_path), times=10) == 10
    assert run(*arguments(recordings, tmp_path)) == 0
    assert numbers(tmp_path) == numbers(undisturbed)
