"""PSNR of enlarged images: nearest neighbour, bicubic, SR-FCN."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from caffe_compat.build.net import CaffeNet
from caffe_compat.errors import DataError
from lq_emotion import prototxt
from lq_emotion.common.records import Record
from lq_emotion.nets.names import crops_folder
from lq_emotion.studies.robust_lq.sr_demo.recipe import BORDER, DEPLOY
from matlab_ports import im2double, imread, imresize, modcrop, rgb2ycbcr
from matlab_ports.matfile import open_frames

METHODS = ("nearest", "bicubic", "sr_fcn")
Luma = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Enlarged:
    """An image's Y (16 .. 235, rounded) by each method; all of one size, the net's border left out.

    Attributes
    ----------
    original : the image before it was shrunk.
    by : `METHODS` -> the enlarged image.
    """

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
    """PSNR of Y in dB over all pixels of all faces, the net's border of 8 pixels left out.

    Attributes
    ----------
    factor : s.
    faces : how many were compared.
    bicubic, sr_fcn : PSNR of the enlarged faces, and of what the net makes of them.
    """

    factor: int
    faces: int
    bicubic: float
    sr_fcn: float

    @property
    def gain(self) -> float:
        """Return by how many dB the net is better."""
        return self.sr_fcn - self.bicubic


def sr_gain(weights: Path, crops: Path, names: Sequence[str], factor: int, *, each: int = 10) -> SrGain:
    """Compare SR-FCN with bicubic interpolation on `each` faces, `factor` times smaller, of each recording."""
    from caffe_compat.build.net import load_net

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
