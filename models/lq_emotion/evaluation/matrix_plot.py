"""Matrices as pictures: confusions of classes, or scores of what was trained on one thing and tested on another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError
from lq_emotion.common.canvas import INK, SOFT, new_figure, save
from lq_emotion.metrics.classification import ClassScores

_CELL, _DARK = 0.48, 70.0  # inches; percentage from which the number is white


@dataclass(frozen=True)
class Matrix:
    """A panel.

    Attributes
    ----------
    title : above it.
    rows, columns : names.
    values : (rows, columns) percentages; NaN for a cell that is missing.
    """

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: npt.NDArray[np.float64]


def confusion_matrix(title: str, names: Sequence[str], scores: ClassScores) -> Matrix:
    """Return confusions as percentages of each true class; a class without samples is missing."""
    counts = scores.confusion.astype(np.float64)
    totals = counts.sum(axis=1, keepdims=True)
    values = np.divide(100 * counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)
    return Matrix(title, names, names, values)


def draw_matrices(matrices: Sequence[Matrix], path: Path, *, row_label: str, column_label: str, note: str = "") -> None:
    """Draw matrices side by side, with the percentage in each cell.

    Parameters
    ----------
    matrices : one or more.
    path : the PNG, complete or not at all.
    row_label, column_label : of the axes.
    note : below the figure.

    Raises
    ------
    DataError
        There is no matrix.
    """
    if not matrices:
        raise DataError("no matrix to draw", code="empty", field="matrices")
    width = sum(_CELL * len(matrix.columns) for matrix in matrices) + 1.2 + 0.3 * len(matrices)
    figure = new_figure(max(width, 4.0), _CELL * len(matrices[0].rows) + 1.6, layout="constrained")
    panels = figure.subplots(
        1, len(matrices), squeeze=False, sharey=len({tuple(matrix.rows) for matrix in matrices}) == 1
    )
    for axes, matrix in zip(panels.flat, matrices, strict=True):
        axes.imshow(matrix.values, cmap="Blues", vmin=0, vmax=100, aspect="equal")
        axes.set_xticks(range(len(matrix.columns)), matrix.columns, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(matrix.rows)), matrix.rows)
        axes.tick_params(length=0, labelsize=8)
        axes.spines[:].set_visible(False)
        axes.set_title(matrix.title, fontsize=9)
        axes.set_xlabel(column_label, fontsize=9)
        for (row, column), value in np.ndenumerate(matrix.values):
            text, color = ("–", SOFT) if np.isnan(value) else (f"{value:.0f}", "white" if value >= _DARK else INK)
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=color)
    panels[0, 0].set_ylabel(row_label, fontsize=9)
    if note:
        figure.supxlabel(note, fontsize=8, color=SOFT)
    save(figure, path)
