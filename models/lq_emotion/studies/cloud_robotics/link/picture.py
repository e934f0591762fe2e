"""Score against rate: all points, those that no other beats, and those chosen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lq_emotion.common.plots import BLUE, INK, ORANGE, new_figure, save
from lq_emotion.studies.cloud_robotics.link.choice import Choice, front, wire_kbps
from lq_emotion.studies.cloud_robotics.link.table import OperatingPoint, RateTable

_PALE = "#b0b4b8"


def draw_choices(table: RateTable, choices: Sequence[Choice], path: Path) -> None:
    """Write the picture as PNG, complete or not at all."""
    from matplotlib.ticker import FuncFormatter

    figure = new_figure(7, 4.5)
    axes = figure.subplots()
    best = front(table.points)
    axes.plot(*_places(table.points), ".", color=_PALE, label="measured")
    axes.step(*_places(best), where="post", color=BLUE, marker=".", label="most for its bits")
    for choice in choices:
        axes.axvline(choice.kbps, color=INK, linewidth=0.6, linestyle=":")
        if choice.point is not None:
            axes.plot(*_places([choice.point]), "o", color=ORANGE, markerfacecolor="none", markersize=10)
            axes.annotate(f"{choice.kbps:g}", (choice.kbps, 1), xycoords=("data", "axes fraction"), fontsize=7)
    axes.plot([], [], "o", color=ORANGE, markerfacecolor="none", label="chosen for a bandwidth (dotted)")
    axes.set(xscale="log", xlabel="kbit/s with packet headers", ylabel=table.measure)
    for ticks in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        ticks(FuncFormatter(lambda rate, _: f"{rate:g}"))
    axes.grid(visible=True, alpha=0.3)
    axes.legend(loc="lower right", fontsize=8)
    save(figure, path)


def _places(points: Sequence[OperatingPoint]) -> tuple[list[float], list[float]]:
    return [wire_kbps(point) for point in points], [point.score for point in points]
