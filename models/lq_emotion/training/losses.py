"""The losses of a training: read from its log, and plotted."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lq_emotion.common.plots import new_figure, save

_SMOOTHED = 25  # iterations
_TRAIN = re.compile(r"\] Iteration (\d+)(?: \([^)]*\))?, loss = (\S+)")
_TESTING = re.compile(r"\] Iteration (\d+), Testing net")
_TEST = re.compile(r"\]     Test net output #0: loss = (\S+)(?: \(\* \S+ = (\S+) loss\))?")


class Curves(NamedTuple):
    """Losses by iteration, as in the log."""

    train: dict[int, float]
    test: dict[int, float]


def read_curves(log: Path, iterations: int) -> Curves:
    """Read the losses up to `iterations`; of repeated iterations, the last counts."""
    curves = Curves({}, {})
    testing = 0
    for line in log.read_text(encoding="utf-8").splitlines():
        if match := _TRAIN.search(line):
            curves.train[int(match[1])] = float(match[2])
        elif match := _TESTING.search(line):
            testing = int(match[1])
        elif match := _TEST.search(line):
            curves.test[testing] = float(match[2] or match[1])  # weighted, as in training
    return Curves(*({i: v for i, v in sorted(part.items()) if i <= iterations} for part in curves))


def draw_losses(
    curves: Curves,
    path: Path,
    *,
    title: str = "Training of SR-FCN",
    measured: str = "Euclidean loss of a 16 x 16 patch",
    held_out: str = "held-out images",
) -> None:
    """Write the training loss of every logged iteration, its running median, and the test losses.

    There is at least one training loss. The first steps overshoot by orders of magnitude; the axis ends at 30 times the
    last median. `title`, `measured` and `held_out` are labels of the figure, its vertical axis and the test losses.
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
