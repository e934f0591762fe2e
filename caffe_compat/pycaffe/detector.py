"""``caffe.Detector``: a net that classifies windows of images, as R-CNN does.

Source: pycaffe's detector, BVLC Caffe 9b89154, after Girshick, Donahue, Darrell and Malik, arXiv 1311.2524.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from caffe_compat.errors import CaffeCompatError, DataError
from caffe_compat.pycaffe import io
from caffe_compat.pycaffe.classifier import Array, make_transformer
from caffe_compat.pycaffe.net import Net, PathLike
from caffe_compat.schema.caffe_pb2 import TEST


class NoProposalsError(CaffeCompatError, ImportError):
    """Selective Search, a separate package with MATLAB code, is not installed."""

    __str__ = CaffeCompatError.__str__


class Detector(Net):
    """A net that classifies windows.

    Parameters
    ----------
    model_file, pretrained_file : the net and its weights.
    mean, input_scale, raw_scale, channel_swap : see :class:`caffe_compat.pycaffe.io.Transformer`.
    context_pad : pixels of context around a window, at the scale of the net's input.
    """

    def __init__(
        self,
        model_file: PathLike,
        pretrained_file: PathLike | None,
        mean: Array | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
        context_pad: int | None = None,
    ) -> None:
        super().__init__(model_file, TEST, weights=pretrained_file)
        self.transformer = make_transformer(self, mean, input_scale, raw_scale, channel_swap)
        self.configure_crop(context_pad)

    def detect_windows(self, images_windows: Iterable[tuple[PathLike, Iterable[Any]]]) -> list[dict[str, Any]]:
        """Classify windows.

        Parameters
        ----------
        images_windows : (image file, its windows (ymin, xmin, ymax, xmax)) pairs.

        Returns
        -------
        A dict per window: `filename`, `window`, `prediction`.
        """
        pairs = [(file, window) for file, windows in images_windows for window in windows]
        if not pairs:
            return []
        name = self.inputs[0]
        prepared = []
        for file, windows in _grouped(pairs):
            image = io.load_image(file)
            prepared += [self.transformer.preprocess(name, self.crop(image, window)) for window in windows]
        inputs: dict[str, Any] = {name: np.stack(prepared)}
        predictions = self.forward_all(**inputs)[self.outputs[0]]
        return [
            {"window": window, "prediction": prediction, "filename": file}
            for (file, window), prediction in zip(pairs, predictions, strict=True)
        ]

    def detect_selective_search(self, image_fnames: Sequence[PathLike]) -> list[dict[str, Any]]:
        """Classify the windows that Selective Search proposes.

        Raises
        ------
        CaffeCompatError
            If the package `selective_search_ijcv_with_python`, which runs its authors' MATLAB code, is not installed.
        """
        try:
            import selective_search_ijcv_with_python as selective_search  # type: ignore[import-not-found]
        except ImportError:
            raise NoProposalsError(
                "Selective Search is not installed; it needs MATLAB",
                code="dependency-missing",
                value="selective_search_ijcv_with_python",
                hint="install it, or pass other windows to detect_windows",
            ) from None
        files = [os.path.abspath(file) for file in image_fnames]  # noqa: PTH100  (symbolic links stay in the names passed to MATLAB)
        windows = selective_search.get_windows(files, cmd="selective_search_rcnn")
        return self.detect_windows(list(zip(files, windows, strict=True)))

    def crop(self, im: Array, window: Sequence[float]) -> Array:
        """Crop an image (H x W x K) to a window (ymin, xmin, ymax, xmax), with context if configured."""
        top, left, bottom, right = (int(v) for v in window)
        if not self.context_pad:
            part = im[top:bottom, left:right]
            if not part.size:
                raise _empty_window(im, window)
            return part
        size = self.blobs[self.inputs[0]].data.shape[3]  # assumed square
        scale = size / (size - 2.0 * self.context_pad)
        half = np.array([bottom - top + 1, right - left + 1]) / 2
        centre = np.array([top, left]) + half
        low, high = np.round(centre - scale * half), np.round(centre + scale * half)
        zoom = size / (high - low + 1)
        pad = [round(float(v)) for v in np.maximum(0, -low) * zoom]
        limits = im.shape[:2]
        low, high = np.clip(low, 0, limits), np.clip(high, 0, limits)
        extent = [min(round(float(v)), size - p) for v, p in zip((high - low + 1) * zoom, pad, strict=True)]
        (y0, x0), (y1, x1) = low.astype(int), high.astype(int)
        part = im[y0:y1, x0:x1]
        if not part.size or min(extent) <= 0:
            raise _empty_window(im, window)
        out: Array = np.ones(self.crop_dims, dtype=np.float32) * self.crop_mean
        out[pad[0] : pad[0] + extent[0], pad[1] : pad[1] + extent[1]] = io.resize_image(part, extent)
        return out

    def configure_crop(self, context_pad: int | None) -> None:
        """Set the context around a window, and the fill value beyond the image: the mean."""
        name = self.inputs[0]
        order = self.transformer.transpose[name]
        inverse = [order[axis] for axis in order]
        self.crop_dims = np.array(self.blobs[name].data.shape[1:])[inverse]
        size = self.blobs[name].data.shape[3]
        if context_pad and not 0 < 2 * context_pad < size:
            hint = f"use 0 to {(size - 1) // 2}"
            raise DataError(
                f"leaves no pixel for the window in an input of width {size}",
                code="out-of-range",
                field="context_pad",
                value=context_pad,
                hint=hint,
            )
        self.context_pad = context_pad
        self.crop_mean: Array = np.zeros(self.crop_dims, dtype=np.float32)
        mean = self.transformer.mean.get(name)
        if not context_pad or mean is None:
            return
        fill = mean.copy().transpose(inverse)
        swap = self.transformer.channel_swap.get(name)
        if swap is not None:
            fill = fill[:, :, np.argsort(swap)]
        raw_scale = self.transformer.raw_scale.get(name)
        self.crop_mean = fill if raw_scale is None else fill / raw_scale


def _grouped(pairs: Sequence[tuple[PathLike, Any]]) -> Iterable[tuple[PathLike, list[Any]]]:
    """Group consecutive windows of an image, so that it is read once."""
    groups: list[tuple[PathLike, list[Any]]] = []
    for file, window in pairs:
        if not groups or groups[-1][0] != file:
            groups.append((file, []))
        groups[-1][1].append(window)
    return groups


def _empty_window(im: Array, window: Sequence[float]) -> DataError:
    height, width = im.shape[:2]
    return DataError(
        f"the window contains no pixel of the image ({height} x {width})",
        code="out-of-range",
        field="window",
        value=[int(v) for v in window],
        hint="pass ymin, xmin, ymax, xmax",
    )
