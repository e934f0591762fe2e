"""The tables next to the published numbers, also where cells are missing, and the figures."""

from dataclasses import replace

import numpy as np
import pytest

from lq_emotion.common.document import Table, is_png
from lq_emotion.datasets.ferplus import EMOTIONS
from lq_emotion.studies.cloud_robotics import figures
from lq_emotion.studies.cloud_robotics.figures import draw_figures, draw_images
from lq_emotion.studies.cloud_robotics.paper import Aggregation
from lq_emotion.studies.cloud_robotics.tables import (
    clip_tables,
    image_tables,
    tables_markdown,
    transfer,
    transfer_tables,
)
from tests.lq_emotion.studies.cloud_robotics.example import EXAMPLE, VERSIONS, square


def texts(table: Table) -> list[list[str]]:
    return [[row.group] if row.group else [cell.text for cell in row.cells] for row in table.rows]


def test_table_1_has_both_readings():
    (table,) = image_tables(EXAMPLE)
    rows = texts(table)
    assert [column.group for column in table.columns[3:7]] == ["anger", "anger", "disgust", "disgust"]
    assert [row[0] for row in rows[:6]] == [
        "Base: VGG Face", "here", "paper, as printed", "Δ", "paper, neutral and sadness exchanged", "Δ",
    ]  # fmt: skip
    assert rows[1][1:5] == ["0.800", "0.69–0.88", "0.800", "0.800"]
    assert rows[2][1:5] == ["0.86", "", "0.86", "0.85"]
    assert rows[3][1:5] == ["−0.06", "", "−0.06", "−0.05"]
    neutral = [column.group for column in table.columns].index("neutral")
    assert (rows[2][neutral], rows[4][neutral]) == ("0.65", "0.85")


def test_a_base_or_a_class_that_the_paper_has_not_stands_without_published_numbers():
    image = replace(EXAMPLE.images[0], base="faces", classes=EMOTIONS, confusion=square(8, 9, 1))
    (table,) = image_tables(replace(EXAMPLE, images=(image,)))
    assert [row[0] for row in texts(table)] == ["Base: faces", "here"]
    assert [column.group for column in table.columns[-2:]] == ["contempt", "contempt"]


def test_cells_stand_beside_the_published_ones_or_are_missing():
    mean, mode, lstm = clip_tables(EXAMPLE)
    assert texts(mean)[0] == ["1280 × 720", "0.250", "0.13–0.42", "0.26", "−0.01", "–", "", "0.30", "–"]
    assert texts(mode)[0][:5] == ["1280 × 720", "0.500", "0.34–0.66", "–", "–"]
    assert texts(lstm)[1][:5] == ["640 × 360", "0.750", "0.58–0.87", "0.77", "−0.02"]
    assert texts(lstm)[2] == ["256 × 144", "–", "", "0.80", "–", "–", "", "0.76", "–"]
    assert "32 synthetic clips of 2 actors" in mean.caption


def test_the_transfer_matrix_has_a_row_for_each_training():
    assert transfer(EXAMPLE) == pytest.approx(
        np.array([[1, 0.5, 0], [0.25, 0.75, np.nan], [np.nan] * 3, [0.75, 0.75, 0.5]]), nan_ok=True
    )
    matrix, ways = transfer_tables(EXAMPLE)
    assert texts(matrix) == [
        ["720p30", "1.000", "0.500", "0.000", "0.500", "0.250"],
        ["360p30", "0.250", "0.750", "–", "–", "–"],
        ["all", "0.750", "0.750", "0.500", "0.667", "–"],
    ]
    assert matrix.rows[0].cells[1].strong
    assert [row[-1] for row in texts(ways)] == ["0.250", "0.500", "–", "0.500", "0.667"]


def test_best_cells_and_hr_are_found():
    assert EXAMPLE.hr == "720p30"
    assert EXAMPLE.best_clips(Aggregation.LSTM).version == "720p30"
    assert EXAMPLE.best_images.base == "vggface2"
    assert replace(EXAMPLE, images=()).best_images is None


def test_markdown_says_that_the_faces_are_synthetic():
    text = tables_markdown(EXAMPLE)
    assert "**Synthetic: the faces are drawn" in text
    assert "| 720p30 | **1.000** | 0.500 | 0.000 | 0.500 | 0.250 |" in text
    text = tables_markdown(replace(EXAMPLE, clips=(), synthetic=False, versions=VERSIONS[:1]))
    assert "ynthetic" not in text
    assert "RAVDESS" not in text


def test_all_figures_of_a_study_are_drawn(tmp_path):
    paths = draw_figures(EXAMPLE, tmp_path)
    assert [path.name for path in paths] == ["figure2.png", "figure3.png", "transfer.png", "search_vggface2.png"]
    assert all(is_png(path.read_bytes()) for path in paths)


def test_figure_2_shows_the_base_that_is_best_on_dev(tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr(figures, "draw_matrices", lambda matrices, *_, **__: titles.append(matrices[0].title))
    worse_on_test = replace(EXAMPLE.images[1], dev_accuracy=0.875)
    assert draw_images(replace(EXAMPLE, images=(EXAMPLE.images[0], worse_on_test)), tmp_path / "figure2.png")
    assert titles == ["ImageNet, accuracy 60.0 %"]


def test_a_study_without_clips_has_figure_2_alone(tmp_path):
    paths = draw_figures(replace(EXAMPLE, clips=(), images=EXAMPLE.images[1:]), tmp_path)
    assert [path.name for path in paths] == ["figure2.png"]
