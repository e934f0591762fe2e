"""Crops at low resolution: downsampled by a factor s and not enlarged again."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from caffe_compat.errors import DataError
from matlab_ports.imresize import imresize
from matlab_ports.matfile import FramesWriter, loadmat, open_frames, variable_names

_BATCH = 64


def shrink(source: Path, target: Path, s: int) -> None:
    """Downsample the crops of a MAT-file, (H, W, T), with labels and times, by a divisor of H and W; atomically."""
    with open_frames(source) as frames:
        height, width, count = frames.shape
        if height % s or width % s:
            raise DataError(f"crops are {height} x {width}, not divisible by {s}", code="shape-mismatch", file=source)
        variables = loadmat(source, [name for name in variable_names(source) if name != "video"])
        target.parent.mkdir(parents=True, exist_ok=True)
        with FramesWriter(target, shape=(height // s, width // s, count), version="-v6", variables=variables) as file:
            for first in range(0, count, _BATCH):
                # in float32, as prepare makes the enlarged crops
                batch = frames.take(np.arange(first, min(first + _BATCH, count))).astype(np.float32)
                file.append(imresize(batch, 1 / s, axes=(0, 1)))
