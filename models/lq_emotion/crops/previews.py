"""Draw previews of a prepared recording: its crops, its labels and its face boxes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from lq_emotion.common.plots import BLUE, lines_with_gaps, new_figure, save
from lq_emotion.datasets.avec.gold import GoldStandard
from matlab_ports.matfile import loadmat, open_frames
from matlab_ports.run_eval import read_label_names
from matlab_ports.store2hdf5 import to_hdf5_axes
from matlab_ports.videoreader import VideoReader

_BLACK, _WHITE = 16 / 255, 235 / 255  # the range of Y
_SHEET = (4, 9)  # rows, columns
_GAP = 0.1  # seconds without crops, over which lines break


def contact_sheet(crops: str | Path, path: str | Path) -> None:
    """Draw evenly spaced crops of a MAT-file with their times and labels, and some as they are stored in HDF5."""
    rows, columns = _SHEET
    names = read_label_names(crops)
    labels = loadmat(crops, [*names, "video_time"])
    with open_frames(crops) as frames:
        chosen = np.unique(np.linspace(0, len(frames) - 1, rows * columns).round().astype(int))
        faces = frames.take(chosen)
        count = len(frames)
    stored = to_hdf5_axes(faces[:, :, None, :: max(1, len(chosen) // columns)][..., :columns])
    tiles = [*np.moveaxis(faces, 2, 0), *[None] * (rows * columns - len(chosen)), *stored[:, 0]]
    height, width = faces.shape[0] * 5 // 4, faces.shape[1] * 13 // 12
    sheet = np.full(((rows + 1) * height, columns * width), _WHITE)
    corners = [(place // columns * height + height // 5, place % columns * width) for place in range(len(tiles))]
    for tile, (top, left) in zip(tiles, corners, strict=True):
        if tile is not None:
            sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    figure = new_figure(1.25 * columns, 1.25 * (rows + 1) * height / width + 0.4)
    figure.suptitle(f"{Path(crops).stem}: {len(chosen)} of {count} crops", fontsize=11)
    panel = figure.subplots()
    panel.axis("off")
    panel.imshow(sheet, cmap="gray", vmin=_BLACK, vmax=_WHITE)
    for at, (top, left) in zip(chosen, corners, strict=False):
        values = (f"{labels[name].flat[at]:+.2f}" for name in names)
        panel.text(left, top - 3, "   ".join([f"{labels['video_time'].flat[at]:.2f} s", *values]), fontsize=8)
    panel.text(0, rows * height + height // 5 - 3, "as stored in HDF5 and seen by nets: transposed", fontsize=8)
    save(figure, Path(path))


def label_trace(
    crops: str | Path, path: str | Path, *, gold: Mapping[str, GoldStandard] = MappingProxyType({})
) -> None:
    """Draw the labels of crops over time, a panel for each kind, on the complete gold standard of each kind."""
    names = read_label_names(crops)
    labels = loadmat(crops, [*names, "video_time"])
    time = labels["video_time"].ravel()
    title = f"{Path(crops).stem}: {' and '.join(names)}"
    figure, axes = _figure(len(names), 1, title, (11, 0.4 + 2.8 * len(names)))
    for panel, name in zip(axes[:, 0], names, strict=True):
        values = labels[name].ravel()
        if name in gold:
            panel.plot(gold[name].time, gold[name].gsd, color="0.75", linewidth=1.5, label="gold standard")
        broken = lines_with_gaps(time, values, gap=_GAP)
        panel.plot(*broken, color=BLUE, linewidth=1.2, label=f"crops ({len(time)})")
        panel.axhline(0, color="0.85", linewidth=0.8, zorder=0)
        panel.set(xlabel="time in s", ylabel=name, xlim=(time.min(), max(time.max(), time.min() + 0.04)))
        panel.legend(loc="upper right", fontsize=8)
    save(figure, Path(path))


def box_overlay(video: str | Path, bbox: npt.ArrayLike, path: str | Path, *, count: int = 6) -> None:
    """Draw evenly spaced frames of a video with their face boxes, (T, 4) in 1-based pixels; zeros for no face."""
    from matplotlib.patches import Rectangle

    boxes = np.asarray(bbox, np.float64)
    chosen = np.unique(np.linspace(0, len(boxes) - 1, count).round().astype(int)).tolist()
    with VideoReader(video) as reader:
        size = (2.6 * len(chosen), 2.6 * reader.height / reader.width + 0.6)
        figure, axes = _figure(1, len(chosen), f"{Path(video).name}: face boxes", size)
        for panel, at in zip(axes[0], chosen, strict=True):
            while reader.frames_read < at:
                reader.advance()
            panel.imshow(reader.read())
            panel.axis("off")
            left, top, width, height = boxes[at]
            panel.set_title(f"frame {at}" + ("" if width else ": no face"), fontsize=8)
            if width:
                corner = (left - 1.5, top - 1.5)
                panel.add_patch(Rectangle(corner, width, height, fill=False, edgecolor="#ffb000", linewidth=1.8))
    save(figure, Path(path))


def _figure(rows: int, columns: int, title: str, size: tuple[float, float]) -> tuple[Any, npt.NDArray[Any]]:
    figure = new_figure(*size)
    figure.suptitle(title, fontsize=11)
    return figure, figure.subplots(rows, columns, squeeze=False)
