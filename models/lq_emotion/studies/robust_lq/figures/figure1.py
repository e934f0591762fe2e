"""Figure 1: a face in full resolution, and what the downsampling factors leave of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lq_emotion.common.plots import SOFT, new_figure, save
from lq_emotion.nets.names import FACTORS
from lq_emotion.studies.robust_lq.figures.canvas import (
    STUDIO,
    SYNTHETIC,
    Image,
    frame_number,
    show_face,
)
from matlab_ports.imresize import imresize
from matlab_ports.matfile import open_frames

_PANEL, _GAP, _HEAD, _FOOT = 1.35, 0.12, 0.42, 0.3  # inches


def draw_factors(
    crops: Path,
    path: Path,
    *,
    frame: int | None = None,
    factors: Sequence[int] = FACTORS,
    levels: tuple[float, float] = STUDIO,
    synthetic: bool = False,
) -> None:
    """Draw a face, and its LR versions: above enlarged by bicubic interpolation, below the pixels that are left.

    Parameters
    ----------
    crops : NAME.mat of full-resolution crops; LR versions are made of them as in the study's data.
    path : the PNG.
    frame : number of the crop, from 0; by default the middle one.
    factors : s of each LR version.
    levels : black and white of the crops.
    synthetic : the face is drawn; a line states it.
    """
    face, number = _crop(crops, frame)
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


def _crop(crops: Path, frame: int | None) -> tuple[Image, int]:
    with open_frames(crops) as frames:
        number = frame_number(frame, frames.shape[2])
        face: Image = frames.take([number])[:, :, 0].astype(np.float32)
        return face, number


def _centred(small: Image, shape: tuple[int, ...]) -> Image:
    """Return the small image amid NaN, which matplotlib leaves white, at the scale of the full one."""
    canvas = np.full(shape, np.nan, np.float32)
    top, left = ((whole - part) // 2 for whole, part in zip(shape, small.shape, strict=True))
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return canvas
