"""Figures of matplotlib that need no screen, written as PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from caffe_compat.formats.files import atomic_path

INK, SOFT, BLUE, ORANGE = "#222222", "#6a6f75", "#1f5fa8", "#c77700"
DPI = 150


def new_figure(width: float, height: float, *, layout: Literal["constrained"] | None = None) -> Any:
    """Return an empty figure of so many inches; `layout` "constrained" makes room for labels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def save(figure: Any, path: Path) -> None:
    """Write a figure as PNG, complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png", dpi=DPI, metadata={"Software": None})
