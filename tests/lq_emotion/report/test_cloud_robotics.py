"""The report of the second paper's study."""

from dataclasses import replace

import pytest

from lq_emotion.common.document import Table
from lq_emotion.common.json_files import write_json
from lq_emotion.report.build import report_on
from lq_emotion.report.cloud_robotics import make_page
from lq_emotion.studies.cloud_robotics.paper import OPEN_QUESTIONS
from tests.lq_emotion.report.conftest import png, put
from tests.lq_emotion.studies.cloud_robotics.example import EXAMPLE
from tests.refusals import refused


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    write_json(EXAMPLE.to_json(), root / "study.json")
    for name in ("figure2", "figure3", "transfer", "search_vggface2"):
        put(root / "figures" / f"{name}.png", png())
    return root


def section(report, title):
    return next(section.blocks for section in report.sections if section.title == title)


def cells(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row.cells] for row in table.rows]


def test_tables_and_figures_are_present(study):
    written = report_on(study)
    assert written.absent == ()
    assert [tuple(counts.values()) for counts in written.sections.values()] == [
        (2, 1), (0, 1), (3, 1), (2, 1), (3, 0), (1, 0), (0, 0),
    ]  # fmt: skip
    page = written.page.read_text(encoding="utf-8")
    assert page.count("<img ") == 4
    assert "Synthetic: the faces are drawn" in page
    assert "images 0.800, mean of clips 0.250, mode of clips 0.500, LSTM of clips 1.000" in page


def test_the_summary_is_of_the_base_that_is_best_on_dev(tmp_path):
    worse_on_test = replace(EXAMPLE.images[1], dev_accuracy=0.875)
    write_json(replace(EXAMPLE, images=(EXAMPLE.images[0], worse_on_test)).to_json(), tmp_path / "study.json")
    assert "accuracies on test are images 0.600," in repr(make_page(tmp_path).lead)


def test_each_open_question_has_an_answer(study):
    (table,) = section(make_page(study), "What the text leaves open")
    rows = {row[0]: row[-1] for row in cells(table)}
    assert len(rows) == len(OPEN_QUESTIONS)
    assert (rows["majority of votes"], rows["30 frames of a clip"]) == ("more-than-5", "start")
    assert rows["margin of a face"] == "0.3"
    assert all(rows.values())


def test_times_are_those_of_kinds_of_stages(study):
    *_, times = section(make_page(study), "What was run")
    assert cells(times) == [["trial", "1", "12.5 s"], ["features", "1", "3.0 s"], ["together", "2", "15.5 s"]]


def test_a_study_of_images_alone_has_no_sections_of_clips(tmp_path):
    results = replace(EXAMPLE, clips=(), versions=(), actors=None, images=EXAMPLE.images[1:], synthetic=False)
    write_json(results.to_json(), tmp_path / "study.json")
    report = make_page(tmp_path)
    assert report.notes == ["figures/figure2.png is missing."]
    titles = {"Searches", "Clips", "Trained on one version, tested on another"}
    assert not titles & {section.title for section in report.sections}
    assert "ynthetic" not in repr(report)


def test_a_folder_without_results_is_refused(tmp_path):
    with refused("file-missing", file=tmp_path / "study.json"):
        make_page(tmp_path)
