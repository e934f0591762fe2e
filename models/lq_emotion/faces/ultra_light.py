"""Detect faces with Ultra-Light-Fast-Generic-Face-Detector (Linzaer), RFB or slim, as published.

The anchors, the coding of boxes and the thresholds are those of the authors' program for Caffe: on maps of 8, 16, 32
and 64 pixels a cell, square anchors whose boxes the net moves and scales.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch

from caffe_compat import CaffeNet
from caffe_compat.errors import DataError
from lq_emotion.faces.face import Face, Image, require_images, suppress

_WIDTH, _HEIGHT = 320, 240
_ANCHORS = {8: (10, 16, 24), 16: (32, 48), 32: (64, 96), 64: (128, 192, 256)}  # pixels a cell -> sides in pixels
_CENTRE, _SIZE = 0.1, 0.2  # scale of the net's offsets
_MEAN, _SCALE = 127, 128
_OVERLAP = 0.3


class UltraLight:
    """Ultra-Light (RFB-320 or slim-320), a `FaceDetector` without landmarks; a face needs a score of `threshold`."""

    def __init__(self, net: CaffeNet, *, threshold: float = 0.7) -> None:
        self._net, self._threshold, self._anchors = net, threshold, _anchors()
        shapes = {name: tuple(net.caffe.shapes[name]) for name in net.returns}
        expected = {"boxes": (1, len(self._anchors), 4), "scores": (1, len(self._anchors), 2)}
        if shapes != expected:
            problem = f"the net returns {shapes}, expected {expected}"
            raise DataError(problem, code="shape-mismatch", field="net", hint="pass RFB-320 or slim-320")
        self._device = next(net.parameters()).device

    def __call__(self, images: Sequence[Image]) -> list[list[Face]]:
        """Return the faces of each image, resized to 320 x 240 whatever its shape; see `FaceDetector`."""
        require_images(images)
        return [self._faces(image) for image in images]

    def _faces(self, image: Image) -> list[Face]:
        small = cv2.resize(image, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_LINEAR)
        x = (small.astype(np.float32) - _MEAN) / _SCALE
        with torch.inference_mode():
            outputs = self._net(torch.from_numpy(x.transpose(2, 0, 1)[None].copy()).to(self._device))
        offsets, scores = (outputs[name][0].float().cpu().numpy() for name in ("boxes", "scores"))
        likely = np.flatnonzero(scores[:, 1] > self._threshold)
        centres = self._anchors[likely, :2] + offsets[likely, :2] * _CENTRE * self._anchors[likely, 2:]
        sizes = self._anchors[likely, 2:] * np.exp(offsets[likely, 2:] * _SIZE)
        height, width = image.shape[:2]
        boxes = np.hstack([centres - sizes / 2, centres + sizes / 2]) * np.array([width, height, width, height])
        stay = suppress(boxes, scores[likely, 1], _OVERLAP, pixel=0)
        left, top, right, bottom = boxes[stay].T
        columns = (left, top, right - left, bottom - top, scores[likely[stay], 1])
        return [Face(*values) for values in zip(*(column.tolist() for column in columns), strict=True)]


def _anchors() -> npt.NDArray[np.float64]:
    """Return centre x, centre y, width and height of the 4420 anchors as parts of the image, (n, 4)."""
    rows = []
    for cell, sides in _ANCHORS.items():
        ys, xs = np.mgrid[: -(-_HEIGHT // cell), : -(-_WIDTH // cell)] + 0.5
        for_cells = np.stack([xs * cell / _WIDTH, ys * cell / _HEIGHT], -1).reshape(-1, 1, 2)
        extents = np.array([(side / _WIDTH, side / _HEIGHT) for side in sides])[None]
        shape = (len(for_cells), len(sides), 2)
        rows.append(np.concatenate([np.broadcast_to(for_cells, shape), np.broadcast_to(extents, shape)], -1))
    anchors: npt.NDArray[np.float64] = np.concatenate([part.reshape(-1, 4) for part in rows])
    return anchors.clip(0, 1)
