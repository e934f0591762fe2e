"""The demo's figure of the methods side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lq_emotion.common.plots import new_figure, save
from lq_emotion.studies.robust_lq.sr_demo.recipe import BORDER
from lq_emotion.studies.robust_lq.sr_demo.upscaling import METHODS, Enlarged

_WINDOW = 96  # side of the part shown enlarged
_TITLES = {"nearest": "low resolution", "bicubic": "bicubic", "sr_fcn": "SR-FCN"}
_BLACK, _WHITE = 16, 235  # the range of Y


def draw_comparison(images: Sequence[Enlarged], focus: Mapping[str, Sequence[int]], path: Path, subtitle: str) -> None:
    """Draw up to three images: the whole, then a part around `focus` (row, column) by each method and as it was."""
    shown = images[:3]
    figure = new_figure(15, 3.3 * len(shown) + 0.9)
    figure.suptitle(f"Super-resolution of images the net was not trained on\n{subtitle}", fontsize=13)
    axes = figure.subplots(len(shown), 5, squeeze=False)
    for row, image in zip(axes, shown, strict=True):
        _draw_row(row, image, focus.get(image.name))
    save(figure, path)


def _draw_row(row: npt.NDArray[Any], image: Enlarged, focus: Sequence[int] | None) -> None:
    from matplotlib.patches import Rectangle

    top, left, side = _part(image, focus)
    part = np.s_[top : top + side, left : left + side]
    scores = image.psnr()
    _show(row[0], image.original, image.name)
    row[0].add_patch(Rectangle((left - 0.5, top - 0.5), side, side, fill=False, edgecolor="#ffb000", linewidth=2))
    best = max(scores, key=lambda method: scores[method])
    for axes, method in zip(row[1:4], METHODS, strict=True):
        title = f"{_TITLES[method]}\n{scores[method]:.2f} dB"
        _show(axes, image.by[method][part], title, bold=method == best)
    _show(row[4], image.original[part], "original\n ")


def _show(axes: Any, values: npt.NDArray[np.uint8], title: str, *, bold: bool = False) -> None:
    axes.imshow(values, cmap="gray", vmin=_BLACK, vmax=_WHITE, interpolation="nearest")
    axes.set_title(title, fontsize=12, fontweight="bold" if bold else "normal")
    axes.set_axis_off()


def _part(image: Enlarged, focus: Sequence[int] | None) -> tuple[int, int, int]:
    """Return top, left and side of the part to show."""
    height, width = image.original.shape
    side = min(_WINDOW, height, width)
    if focus is not None:
        top, left = (int(centre) - BORDER - side // 2 for centre in focus)
    else:
        error = (image.by["bicubic"].astype(np.float64) - image.original) ** 2
        sums = np.pad(error, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
        windows = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
        top, left = (int(place) for place in np.unravel_index(windows.argmax(), windows.shape))
    return max(0, min(top, height - side)), max(0, min(left, width - side)), side
