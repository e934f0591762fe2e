"""Faces at their own low resolution: made 1/s as large, and not enlarged again."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from caffe_compat.errors import DataError
from matlab_ports.imresize import imresize
from matlab_ports.matfile import FramesWriter, loadmat, open_frames, variable_names

_BATCH = 64


def shrink(source: Path, target: Path, s: int) -> None:
    """Write the faces of a MAT-file 1/s as large, with its labels and times.

    Parameters
    ----------
    source : as prepare writes it: video (H, W, T), labels, video_time.
    target : appears complete or not at all; its folder is made.
    s : a divisor of H and W.

    Raises
    ------
    DataError
        The faces cannot be divided so.
    PortError
        A file cannot be read or written.
    """
    with open_frames(source) as frames:
        height, width, count = frames.shape
        if height % s or width % s:
            raise DataError(f"faces of {height} x {width} cannot be made 1/{s} as large", file=source)
        held = loadmat(source, [name for name in variable_names(source) if name != "video"])
        target.parent.mkdir(parents=True, exist_ok=True)
        with FramesWriter(target, shape=(height // s, width // s, count), version="-v6", variables=held) as file:
            for first in range(0, count, _BATCH):
                # in single, as prepare makes the enlarged ones
                batch = frames.take(np.arange(first, min(first + _BATCH, count))).astype(np.float32)
                file.append(imresize(batch, 1 / s, axes=(0, 1)))
