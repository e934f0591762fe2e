"""Matrices as pictures."""

import numpy as np
import pytest

from lq_emotion.evaluation.matrix_plot import confusion_matrix, draw_matrices
from lq_emotion.metrics.classification import class_scores
from tests.refusals import refused


def test_confusions_are_percentages_of_each_true_class():
    matrix = confusion_matrix("net", ("a", "b", "c"), class_scores([0, 0, 1, 1], [0, 0, 0, 1], 3))
    assert matrix.values == pytest.approx(np.array([[200 / 3, 100 / 3, 0], [0, 100, 0], [np.nan] * 3]), nan_ok=True)


def test_nothing_to_draw_is_refused(tmp_path):
    with refused("empty", field="matrices"):
        draw_matrices([], tmp_path / "none.png", row_label="true", column_label="estimate")
