"""The course of a search: the objective of each trial, and how it depends on each parameter."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from caffe_compat.errors import DataError
from lq_emotion.common.plots import BLUE, INK, ORANGE, SOFT, new_figure, save, shared_legend
from lq_emotion.workflow.search import FIRST, Parameter, Trial

_PANELS = 4  # in a row


def draw_course(
    course: Sequence[Trial],
    space: Sequence[Parameter],
    path: Path,
    *,
    first: int = FIRST,
    title: str = "",
    label: str = "objective",
) -> None:
    """Draw objective and best so far by trial, and the objective by the value of each parameter."""
    if not course:
        raise DataError("no trial to draw", code="empty", field="course")
    columns = min(len(space), _PANELS)
    rows = -(-len(space) // columns)
    figure = new_figure(max(6.0, 2.9 * columns), 2.9 + 2.3 * rows)
    upper, lower = figure.subfigures(2, 1, height_ratios=(2.9, 2.3 * rows))
    if title:
        figure.suptitle(title, fontsize=11)
    best = min(course, key=lambda trial: trial.objective)
    axes = upper.subplots()
    numbers = [trial.number + 1 for trial in course]
    objectives = [trial.objective for trial in course]
    axes.step(numbers, list(itertools.accumulate(objectives, min)), where="post", color=BLUE, label="best so far")
    _dots(axes, numbers, course, best, first)
    axes.set(xlabel="trial", ylabel=label)
    axes.xaxis.get_major_locator().set_params(integer=True)
    shared_legend(upper, fontsize=8)
    panels = lower.subplots(rows, columns, squeeze=False, sharey=True)
    for panel, parameter in zip(panels.flat, space, strict=False):
        _dots(panel, [trial.parameters[parameter.name] for trial in course], course, best, first)
        panel.set(xlabel=parameter.name, xscale="log" if parameter.log else "linear")
        panel.set_xlim(*_limits(parameter))
    for panel in panels.flat[len(space) :]:
        panel.set_axis_off()
    for panel in (axes, *panels.flat):
        panel.grid(visible=True, alpha=0.3)
    for panel in panels[:, 0]:
        panel.set_ylabel(label)
    save(figure, path)


def _dots(axes: Any, places: Sequence[float], course: Sequence[Trial], best: Trial, first: int) -> None:
    """Draw rings for the first trials, dots for the later ones, and the best one larger."""
    kinds = (("first trials, even over the space", SOFT, "none", True), ("later trials", INK, INK, False))
    for label, edge, face, early in kinds:
        points = [
            (place, trial.objective)
            for place, trial in zip(places, course, strict=True)
            if (trial.number < first) == early
        ]
        if points:
            axes.plot(*zip(*points, strict=True), "o", color=edge, markerfacecolor=face, markersize=4, label=label)
    place = places[course.index(best)]
    axes.plot([place], [best.objective], "o", color=ORANGE, markerfacecolor="none", markersize=10, label="best")


def _limits(parameter: Parameter) -> tuple[float, float]:
    """Return limits a little beyond those of the parameter, so that trials at them are seen."""
    if parameter.log:
        margin = (parameter.high / parameter.low) ** 0.04
        return parameter.low / margin, parameter.high * margin
    margin = 0.04 * (parameter.high - parameter.low)
    return parameter.low - margin, parameter.high + margin
