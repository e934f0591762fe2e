"""The plot of a training's losses."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from lq_emotion.common.plots import new_figure, save
from lq_emotion.training.trainer import Curves

_SMOOTHED = 25  # iterations


def draw_losses(
    curves: Curves,
    path: Path,
    *,
    title: str = "Training of SR-FCN",
    measured: str = "Euclidean loss of a 16 x 16 patch",
    held_out: str = "held-out images",
) -> None:
    """Write the training loss of every logged iteration, its running median, and the test losses.

    The first steps overshoot by orders of magnitude; the axis ends at 30 times the last median.

    Parameters
    ----------
    curves : with at least one training loss.
    path : of the figure.
    title, measured, held_out : labels of the figure, its vertical axis and the test losses.
    """
    figure = new_figure(9, 5)
    axes = figure.subplots()
    iterations = np.array(list(curves.train))
    losses = np.array(list(curves.train.values()))
    axes.plot(iterations, losses, color="#9ecae1", linewidth=0.8, label="training, one batch")
    window = min(_SMOOTHED, len(losses))
    medians = np.median(np.lib.stride_tricks.sliding_window_view(losses, window), axis=1)
    middles = iterations[(window - 1) // 2 :][: len(medians)]
    axes.plot(middles, medians, color="#08519c", linewidth=1.8, label=f"training, median of {window}")
    if curves.test:
        axes.plot(list(curves.test), list(curves.test.values()), "o-", color="#d94801", label=held_out)
    axes.set(yscale="log", xlabel="iteration", ylabel=measured, title=title)
    top = min(float(losses.max()), 30 * float(medians[-1])) * 1.2
    if math.isfinite(top) and top > 0:  # else it diverged
        axes.set_ylim(top=top)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    save(figure, path)
