"""Lines that break at gaps, one legend for several panels, and matrices as pictures."""

import numpy as np
import pytest

from lq_emotion.common.document import is_png
from lq_emotion.common.plots import Matrix, draw_matrices, lines_with_gaps, new_figure, png, save, shared_legend
from tests.refusals import refused


def test_lines_break_where_times_are_further_apart_than_the_gap():
    times, values = lines_with_gaps([0.0, 1.0, 3.0, 4.5], [5, 6, 7, 8], gap=1.5)
    np.testing.assert_array_equal(times, [0, 1, np.nan, 3, 4.5])
    np.testing.assert_array_equal(values, [5, 6, np.nan, 7, 8])


def test_a_legend_names_each_line_of_all_panels_once():
    figure = new_figure(4, 3)
    first, second = figure.subplots(1, 2)
    for panel, labels in ((first, "ab"), (second, "bc")):
        for label in labels:
            panel.plot([0, 1], [0, 1], label=label)
    shared_legend(figure)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "c"]


def test_letters_that_the_font_lacks_are_no_reason_to_fail(tmp_path):
    figure = new_figure(2, 2)
    figure.suptitle("\u3042")
    save(figure, tmp_path / "new/a.png")
    assert is_png(png(figure))
    assert (tmp_path / "new/a.png").read_bytes() == png(figure)


def test_confusions_are_percentages_of_each_true_class():
    matrix = Matrix.of_confusion("net", ("a", "b", "c"), np.array([[2, 1, 0], [0, 1, 0], [0, 0, 0]]))
    assert matrix.values == pytest.approx(np.array([[200 / 3, 100 / 3, 0], [0, 100, 0], [np.nan] * 3]), nan_ok=True)


def test_names_with_dollars_are_drawn(tmp_path):
    matrix = Matrix.of_confusion("$", ("$a", "$_$"), np.array([[2, 1], [0, 0]]), as_counts=True)
    draw_matrices([matrix, matrix], tmp_path / "m.png", row_label="true", column_label="estimate", note="note")
    assert is_png((tmp_path / "m.png").read_bytes())


def test_nothing_to_draw_is_refused(tmp_path):
    with refused("empty", field="matrices"):
        draw_matrices([], tmp_path / "none.png", row_label="true", column_label="estimate")
