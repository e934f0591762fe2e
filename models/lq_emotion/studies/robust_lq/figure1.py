"""Figure 1: a face in full resolution, and what the downsampling factors leave of it; and elements of the figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lq_emotion.common.plots import INK, SOFT, new_figure, save
from lq_emotion.nets.names import FACTORS
from matlab_ports.imresize import imresize
from matlab_ports.matfile import open_frames

Image = npt.NDArray[np.floating[Any]]
SYNTHETIC = "Synthetic recording: the face is drawn, no person was filmed."
_PANEL, _GAP, _HEAD, _FOOT = 1.35, 0.12, 0.42, 0.3  # inches


def draw_factors(
    crops: Path,
    path: Path,
    *,
    factors: Sequence[int] = FACTORS,
    levels: tuple[float, float],
    synthetic: bool = False,
) -> None:
    """Draw the middle face of full-resolution crops, NAME.mat, and its LR versions, made as in the study's data.

    Above they are enlarged by bicubic interpolation, below are the pixels that are left. `levels` are `levels_of` the
    crops; a line states that a face is `synthetic`.
    """
    with open_frames(crops) as frames:
        number = frames.shape[2] // 2
        face: Image = frames.take([number])[:, :, 0].astype(np.float32)
    columns = 1 + len(factors)
    width, height = columns * (_PANEL + _GAP) + _GAP + 0.75, 2 * (_PANEL + _GAP) + _HEAD + _FOOT
    figure = new_figure(width, height, layout=None)
    for column, s in enumerate((1, *factors)):
        small = face if s == 1 else imresize(face, 1 / s)
        enlarged = face if s == 1 else imresize(small, face.shape)
        left = (0.75 + _GAP + column * (_PANEL + _GAP)) / width
        for row, image in enumerate((enlarged, _centred(small, face.shape))):
            bottom = (_FOOT + (1 - row) * (_PANEL + _GAP)) / height
            panel = figure.add_axes((left, bottom, _PANEL / width, _PANEL / height))
            show_face(panel, image, levels)
            if row == 0:
                name = "HR" if s == 1 else f"s = {s}"
                panel.set_title(f"{name}\n{small.shape[1]} × {small.shape[0]}", fontsize=9, pad=4)
    for row, text in enumerate(("bicubic\nto full size", "pixels\nthat are left")):
        y = (_FOOT + (1.5 - row) * (_PANEL + _GAP) - _GAP / 2 - 0.02) / height
        figure.text(0.72 / width, y, text, ha="right", va="center", fontsize=8, color=SOFT)
    source = f"Frame {number + 1:,} of {crops.stem}. {SYNTHETIC if synthetic else ''}".strip()
    figure.text(0.5, 0.08 / height, source, ha="center", va="bottom", fontsize=8, color=SOFT)
    save(figure, path)


def _centred(small: Image, shape: tuple[int, ...]) -> Image:
    """Return the small image amid NaN, which matplotlib leaves white, at the scale of the full one."""
    canvas = np.full(shape, np.nan, np.float32)
    top, left = ((whole - part) // 2 for whole, part in zip(shape, small.shape, strict=True))
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return canvas


def levels_of(luminance: object) -> tuple[float, float]:
    """Return black and white of crops: those of luma, as MATLAB stores it, or of gray (`PaperSwitches.luminance`)."""
    return (0.0, 1.0) if luminance == "gray" else (16 / 255, 235 / 255)


def show_face(axes: Any, face_hw: Image, levels: tuple[float, float]) -> None:
    """Show a face in a panel without axes, its pixels as squares."""
    black, white = levels
    axes.imshow(face_hw, cmap="gray", vmin=black, vmax=white, interpolation="nearest")
    axes.set_axis_off()


def connect(figure: Any, start: tuple[float, float], end: tuple[float, float], **style: Any) -> None:
    """Draw an arrow between two points of a figure, each from 0 to 1."""
    from matplotlib.patches import FancyArrowPatch

    style = {"arrowstyle": "-|>", "mutation_scale": 11, "color": INK, "linewidth": 1.1, **style}
    figure.add_artist(FancyArrowPatch(start, end, transform=figure.transFigure, **style))
