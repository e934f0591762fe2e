"""Images enlarged by nearest neighbour, bicubic interpolation and SR-FCN: their PSNR, and a figure of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from caffe_compat.build.net import CaffeNet, load_net
from caffe_compat.errors import DataError
from lq_emotion import prototxt
from lq_emotion.common.plots import new_figure, save
from lq_emotion.common.records import Record
from lq_emotion.nets.names import crops_folder
from matlab_ports import im2double, imread, imresize, modcrop, rgb2ycbcr
from matlab_ports.matfile import open_frames

DEPLOY = "matlabscripts/recon/deploy/SRCNN_net.prototxt"
BORDER = 8  # pixels that the net's four 5 x 5 convolutions cut off on every side
METHODS = ("nearest", "bicubic", "sr_fcn")
_WINDOW = 96  # side of the part shown enlarged
_TITLES = {"nearest": "low resolution", "bicubic": "bicubic", "sr_fcn": "SR-FCN"}
_BLACK, _WHITE = 16, 235  # the range of Y
Luma = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Enlarged:
    """An image's Y (16 .. 235, rounded) by each of `METHODS`; all of one size, the net's border left out."""

    name: str
    original: Luma
    by: dict[str, Luma]

    def psnr(self) -> dict[str, float]:
        """Return each method's peak signal-to-noise ratio in dB."""
        return {method: psnr(enlarged, self.original) for method, enlarged in self.by.items()}


def psnr(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    """Return the peak signal-to-noise ratio of two 8-bit images in dB; infinite where they are equal."""
    error = float(np.mean((a.astype(np.float64) - b) ** 2))
    return 10 * math.log10(255**2 / error) if error else math.inf


def enlarge(net: CaffeNet, path: Path, scale: int) -> Enlarged:
    """Shrink the Y of an RGB image by `scale` and enlarge it again, by each method."""
    original = modcrop(im2double(rgb2ycbcr(imread(path))[:, :, 0]), scale)
    low = imresize(original, 1 / scale, "bicubic")
    bicubic = imresize(low, original.shape, "bicubic")
    inner = slice(BORDER, -BORDER)
    by = {
        "nearest": rounded(imresize(low, original.shape, "nearest")[inner, inner]),
        "bicubic": rounded(bicubic[inner, inner]),
        "sr_fcn": rounded(run_net(net, bicubic)),
    }
    return Enlarged(path.stem, rounded(original[inner, inner]), by)


@torch.no_grad()
def run_net(net: CaffeNet, enlarged_hw: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Return the net's output, 16 pixels smaller in each direction.

    MATLAB writes an image's columns where Caffe reads rows, so the net learnt from transposed images, and its input is
    transposed.
    """
    blob = torch.from_numpy(np.ascontiguousarray(enlarged_hw.T, dtype=np.float32))[None, None]
    output: npt.NDArray[np.float32] = net.forward_dict({net.inputs[0]: blob})[net.returns[0]][0, 0].numpy().T
    return output


def rounded(values: npt.NDArray[Any]) -> Luma:
    """Return values from 0 to 1 as bytes: MATLAB's ``uint8(255 * x)``."""
    return np.clip(np.floor(np.nan_to_num(values * 255.0) + 0.5), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class SrGain(Record):
    """PSNR of Y in dB over all pixels of a number of faces, the net's border of 8 pixels left out."""

    factor: int
    faces: int
    bicubic: float
    """Of the enlarged faces."""
    sr_fcn: float
    """Of what the net makes of them."""

    @property
    def gain(self) -> float:
        """Return by how many dB the net is better."""
        return self.sr_fcn - self.bicubic


def sr_gain(weights: Path, crops: Path, names: Sequence[str], factor: int, *, each: int = 10) -> SrGain:
    """Compare SR-FCN with bicubic interpolation on `each` faces, `factor` times smaller, of each recording."""
    net = load_net(prototxt.path(DEPLOY), weights)
    original, enlarged = (
        np.concatenate([_faces(crops / folder / f"{name}.mat", each) for name in names], axis=2)
        for folder in (crops_folder(1), crops_folder(factor))
    )
    if original.shape != enlarged.shape:
        problem = f"HQ has {original.shape[2]} of these faces, LR-{factor} {enlarged.shape[2]}"
        raise DataError(problem, code="wrong-count", file=crops, hint="prepare again")
    inner = slice(BORDER, -BORDER)
    truth = rounded(original[inner, inner])
    by_net = np.stack([run_net(net, enlarged[:, :, face]) for face in range(enlarged.shape[2])], axis=2)
    return SrGain(factor, truth.shape[2], psnr(rounded(enlarged[inner, inner]), truth), psnr(rounded(by_net), truth))


def _faces(path: Path, count: int) -> npt.NDArray[np.float64]:
    """Return at most `count` crops of a recording, (96, 96, n), values from 0 to 1."""
    with open_frames(path) as frames:
        places = np.unique(np.linspace(0, len(frames) - 1, count).round().astype(int))
        return np.asarray(frames.take(places), np.float64)


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
