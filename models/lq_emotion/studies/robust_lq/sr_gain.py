"""Gain of SR-FCN over bicubic interpolation on faces, in dB."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError
from lq_emotion import prototxt
from lq_emotion.common.records import Record
from lq_emotion.nets.names import crops_folder
from lq_emotion.studies.robust_lq.sr_demo.recipe import BORDER, DEPLOY
from lq_emotion.studies.robust_lq.sr_demo.upscaling import psnr, rounded, run_net
from matlab_ports.matfile import open_frames


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
    """Compare what SR-FCN and bicubic interpolation make of faces that are `factor` times smaller.

    Parameters
    ----------
    weights : of SR-FCN.
    crops : the folder with HQ and LR-s crops, ``ROOT/data/raw_data``.
    names : recordings that the net did not learn from.
    factor : s.
    each : faces of a recording, evenly chosen.

    Raises
    ------
    CaffeCompatError
        The weights do not fit, or crops are missing or differ in number.
    """
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
