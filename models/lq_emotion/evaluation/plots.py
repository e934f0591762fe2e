"""Plot gold standard and prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lq_emotion.common.plots import lines_with_gaps, new_figure, save, shared_legend
from lq_emotion.evaluation.tables import Traces, joined
from lq_emotion.metrics.delay import STEP
from lq_emotion.metrics.regression import Score

_GOLD, _PREDICTION = "#222222", "#4c9bd6"
_COLUMNS = 3
_DENSE = 3000  # points beyond which a scatter plot shows their density


def draw_traces(recordings: Sequence[Traces], scores: Mapping[str, Score], path: Path) -> None:
    """Plot gold standard and prediction over time, a panel per recording; lines break at dropped frames."""
    columns = min(_COLUMNS, len(recordings))
    rows = -(-len(recordings) // columns)
    figure = new_figure(5.2 * columns, 2.5 * rows + 0.7)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for panel, traces in zip(axes.flat, recordings, strict=False):
        time, gold, prediction = lines_with_gaps(traces.time, traces.gold, traces.prediction, gap=1.5 * STEP)
        panel.plot(time, gold, color=_GOLD, linewidth=1.3, label="gold standard", zorder=3)
        panel.plot(time, prediction, color=_PREDICTION, linewidth=0.9, label="prediction")
        panel.set_title(f"{traces.name}   {_format_score(scores[traces.name])}", fontsize=10)
        panel.grid(visible=True, alpha=0.3)
        panel.margins(x=0.01)
    for panel in axes.flat[len(recordings) :]:
        panel.set_axis_off()
    for column in range(columns):
        last = max(row for row in range(rows) if row * columns + column < len(recordings))
        axes[last, column].set_xlabel("seconds")
    for panel in axes[:, 0]:
        panel.set_ylabel(recordings[0].label)
    shared_legend(figure)
    save(figure, path)


def draw_concatenated(recordings: Sequence[Traces], score: Score, path: Path) -> None:
    """Plot all recordings concatenated, as they are scored together."""
    figure = new_figure(15, 4.2)
    axes = figure.subplots()
    prediction, gold = joined(recordings)
    axes.plot(gold, color=_GOLD, linewidth=1.3, label="gold standard", zorder=3)
    axes.plot(prediction, color=_PREDICTION, linewidth=0.7, label="prediction")
    ends = np.cumsum([traces.time.size for traces in recordings])
    starts = ends - [traces.time.size for traces in recordings]
    for end in ends[:-1]:
        axes.axvline(end - 0.5, color="0.6", linewidth=0.8, linestyle=":")
    axes.set_xticks((starts + ends) / 2, [traces.name for traces in recordings])
    axes.tick_params(axis="x", length=0, labelrotation=0 if len(recordings) <= 12 else 90)
    axes.set(ylabel=recordings[0].label, title=f"{ends[-1]} frames   {_format_score(score)}")
    axes.margins(x=0)
    axes.grid(visible=True, axis="y", alpha=0.3)
    shared_legend(figure, "lower")
    save(figure, path)


def draw_scatter(recordings: Sequence[Traces], score: Score, path: Path) -> None:
    """Plot prediction against gold standard; on the dashed line they are equal."""
    figure = new_figure(6, 5.4)
    axes = figure.subplots()
    prediction, gold = joined(recordings)
    low, high = float(min(gold.min(), prediction.min())), float(max(gold.max(), prediction.max()))
    pad = 0.04 * (high - low) or 0.5
    limits = (low - pad, high + pad)
    if gold.size > _DENSE:
        density = axes.hexbin(
            gold, prediction, gridsize=60, bins="log", mincnt=1, cmap="Blues", extent=(*limits, *limits)
        )
        figure.colorbar(density, ax=axes, label="frames", shrink=0.85)
    else:
        axes.plot(gold, prediction, ".", color=_PREDICTION, markersize=3, alpha=0.5)
    axes.plot(limits, limits, "--", color="0.4", linewidth=1)
    axes.set(
        xlim=limits,
        ylim=limits,
        xlabel="gold standard",
        ylabel="prediction",
        title=_format_score(score),
        aspect="equal",
    )
    axes.grid(visible=True, alpha=0.3)
    save(figure, path)


def _format_score(score: Score) -> str:
    values = ("nan" if value is None else f"{value:.3f}" for value in (score.rmse, score.cc, score.ccc))
    return "RMSE {}  CC {}  CCC {}".format(*values)
