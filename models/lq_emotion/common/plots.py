"""Figures of matplotlib that need no screen, as PNG."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError
from caffe_compat.formats.files import atomic_path

INK, SOFT, BLUE, ORANGE = "#222222", "#6a6f75", "#1f5fa8", "#c77700"
DPI = 150
_CELL, _DARK = 0.48, 70.0  # inches; percentage from which the text is white

Doubles = npt.NDArray[np.float64]


def new_figure(width: float, height: float, *, layout: Literal["constrained"] | None = "constrained") -> Any:
    """Return an empty figure, in inches; the layout "constrained" leaves space for labels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def png(figure: Any) -> bytes:
    """Return a figure as PNG."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # names in scripts that the font lacks
        figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})
    return file.getvalue()


def save(figure: Any, path: Path) -> None:
    """Write a figure as PNG, complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as partial:
        partial.write_bytes(png(figure))


def lines_with_gaps(times: npt.ArrayLike, *values: npt.ArrayLike, gap: float) -> tuple[Doubles, ...]:
    """Return times (T,) and values (T,) with NaN where times are more than `gap` apart, so that lines break there."""
    gaps = np.flatnonzero(np.diff(np.asarray(times)) > gap) + 1
    return tuple(np.insert(np.asarray(line, np.float64), gaps, np.nan) for line in (times, *values))


def shared_legend(figure: Any, place: Literal["upper", "lower"] = "upper", *, most: int = 8, **style: Any) -> None:
    """Draw one legend for all panels, outside of them, each label once and at most some in a row."""
    lines: dict[str, Any] = {}
    for panel in figure.axes:
        for line, label in zip(*panel.get_legend_handles_labels(), strict=True):
            lines.setdefault(label, line)
    columns = max(1, min(len(lines), most))
    figure.legend(
        list(lines.values()), list(lines), loc=f"outside {place} center", ncols=columns, frameon=False, **style
    )


@dataclass(frozen=True)
class Matrix:
    """A matrix of percentages, such as confusions of classes."""

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: Doubles
    """(rows, columns) percentages; NaN for a cell that is missing."""
    texts: npt.NDArray[Any] | None = None
    """Text of each cell; by default its percentage."""

    @classmethod
    def of_confusion(
        cls, title: str, names: Sequence[str], confusion: npt.NDArray[Any], *, as_counts: bool = False
    ) -> Matrix:
        """Return confusions, (true, estimated) counts, as percentages of each true class; NaN for one without any."""
        counts = confusion.astype(np.float64)
        totals = counts.sum(axis=1, keepdims=True)
        values = np.divide(100 * counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)
        return cls(title, names, names, values, confusion if as_counts else None)


def draw_matrices(matrices: Sequence[Matrix], path: Path, *, row_label: str, column_label: str, note: str = "") -> None:
    """Write matrices, one or more of them next to each other, with a note below them."""
    if not matrices:
        raise DataError("no matrix to draw", code="empty", field="matrices")
    width = sum(_CELL * len(matrix.columns) for matrix in matrices) + 1.2 + 0.3 * len(matrices)
    figure = new_figure(max(width, 4.0), _CELL * len(matrices[0].rows) + 1.6)
    same_rows = len({tuple(matrix.rows) for matrix in matrices}) == 1
    panels = figure.subplots(1, len(matrices), squeeze=False, sharey=same_rows)
    for panel, matrix in zip(panels.flat, matrices, strict=True):
        _draw_matrix(panel, matrix)
        panel.set_xlabel(column_label, fontsize=9)
    panels[0, 0].set_ylabel(row_label, fontsize=9)
    if note:
        figure.supxlabel(note, fontsize=8, color=SOFT)
    save(figure, path)


def _draw_matrix(panel: Any, matrix: Matrix) -> None:
    names = {"parse_math": False}  # a name may contain dollars
    panel.imshow(matrix.values, cmap="Blues", vmin=0, vmax=100, aspect="equal")
    columns = range(len(matrix.columns))
    panel.set_xticks(columns, matrix.columns, rotation=45, ha="right", rotation_mode="anchor", **names)
    panel.set_yticks(range(len(matrix.rows)), matrix.rows, **names)
    panel.tick_params(length=0, labelsize=8)
    panel.spines[:].set_visible(False)
    panel.set_title(matrix.title, fontsize=9, **names)
    for (row, column), value in np.ndenumerate(matrix.values):
        text, colour = f"{value:.0f}", "white" if value >= _DARK else INK
        if matrix.texts is not None:
            text = str(matrix.texts[row, column])
        elif np.isnan(value):
            text, colour = "–", SOFT
        panel.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
