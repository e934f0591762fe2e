"""The losses of a training: the paper's proposal, 1 - CCC, and those in its log, as a plot."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from caffe_compat.errors import DataError
from lq_emotion.common.plots import new_figure, save
from lq_emotion.metrics.regression import Convention, degrees_lost
from lq_emotion.nets.cnn_d import JOINED

_SMOOTHED = 25  # iterations
_TRAIN = re.compile(r"\] Iteration (\d+)(?: \([^)]*\))?, loss = (\S+)")
_TESTING = re.compile(r"\] Iteration (\d+), Testing net")
_TEST = re.compile(r"\]     Test net output #0: loss = (\S+)(?: \(\* \S+ = (\S+) loss\))?")


class Curves(NamedTuple):
    """Losses by iteration, as in the log."""

    train: dict[int, float]
    test: dict[int, float]


def ccc_loss(prediction: torch.Tensor, gold: torch.Tensor, convention: Convention = "avec") -> torch.Tensor:
    """Return 1 - CCC, from 0 (agreement) to 2, of N predictions and N values of any shape, N at least 2: a scalar.

    The only loss of the paper that is not a layer of Caffe. A batch of constant predictions has a CCC of 0 and still a
    gradient, so that training can leave it. The mean loss over batches is not that of the whole trace.
    """
    lost = degrees_lost(convention)
    a, b = prediction.flatten(), gold.flatten().to(prediction)
    if a.numel() != b.numel() or a.numel() < 2:
        problem = f"{a.numel()} predictions for {b.numel()} values of the gold standard"
        raise DataError(problem, code="wrong-count", hint="give as many of both, and two or more")
    together, alone = (a.numel() - less for less in lost)
    difference = a.mean() - b.mean()
    a, b = a - a.mean(), b - b.mean()
    apart = (a.square().sum() + b.square().sum()) / alone + difference.square()
    # two equal constants are 0/0; here they agree with nothing, as in a CCC of 0
    return 1 - 2 * (a * b).sum() / together / apart.clamp_min(torch.finfo(apart.dtype).tiny)


def valence_ccc(blobs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return the loss of a batch, from the blobs of a net without a loss layer; of two labels, the mean."""
    names = JOINED if JOINED[0] in blobs else ("fc5", "label")
    pairs = zip(*(blobs[name].flatten(1).unbind(1) for name in names), strict=True)
    return torch.stack([ccc_loss(*pair) for pair in pairs]).mean()


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
