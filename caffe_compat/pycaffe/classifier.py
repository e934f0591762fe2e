"""``caffe.Classifier``: a net that classifies images, optionally averaged over ten crops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from caffe_compat.pycaffe import io
from caffe_compat.pycaffe.net import Net, PathLike
from caffe_compat.schema.caffe_pb2 import TEST

Array = np.ndarray[Any, np.dtype[Any]]


def make_transformer(
    net: Net, mean: Array | None, input_scale: float | None, raw_scale: float | None, channel_swap: Sequence[int] | None
) -> io.Transformer:
    """Return the preprocessing of images (H x W x K) for a net's first input."""
    name = net.inputs[0]
    transformer = io.Transformer({name: net.blobs[name].data.shape})
    transformer.set_transpose(name, (2, 0, 1))
    if mean is not None:
        transformer.set_mean(name, mean)
    if input_scale is not None:
        transformer.set_input_scale(name, input_scale)
    if raw_scale is not None:
        transformer.set_raw_scale(name, raw_scale)
    if channel_swap is not None:
        transformer.set_channel_swap(name, channel_swap)
    return transformer


class Classifier(Net):
    """A net that classifies images.

    Parameters
    ----------
    model_file, pretrained_file : the net and its weights.
    image_dims : height and width that images are resized to before cropping; by default the input's.
    mean, input_scale, raw_scale, channel_swap : see :class:`caffe_compat.pycaffe.io.Transformer`.

    Attributes
    ----------
    transformer : the preprocessing.
    image_dims, crop_dims : sizes of the resized images and of the input.
    """

    def __init__(
        self,
        model_file: PathLike,
        pretrained_file: PathLike | None,
        image_dims: Sequence[int] | None = None,
        mean: Array | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
    ) -> None:
        super().__init__(model_file, TEST, weights=pretrained_file)
        self.transformer = make_transformer(self, mean, input_scale, raw_scale, channel_swap)
        self.crop_dims = np.array(self.blobs[self.inputs[0]].data.shape[2:])
        self.image_dims = self.crop_dims if image_dims is None or len(image_dims) == 0 else image_dims

    def predict(self, inputs: Sequence[Array], oversample: bool = True) -> Array:  # noqa: FBT001, FBT002
        """Return the probability of every class.

        Parameters
        ----------
        inputs : images (H x W x K).
        oversample : average over the corners, the centre and their mirror images; else classify the centre only.

        Returns
        -------
        (N, C).
        """
        scaled = np.zeros((len(inputs), *(int(v) for v in self.image_dims), inputs[0].shape[2]), dtype=np.float32)
        for index, image in enumerate(inputs):
            scaled[index] = io.resize_image(image, self.image_dims)
        crops = io.oversample(list(scaled), self.crop_dims) if oversample else self._centres(scaled)
        name = self.inputs[0]
        batch: dict[str, Any] = {name: np.stack([self.transformer.preprocess(name, crop) for crop in crops])}
        predictions: Array = self.forward_all(**batch)[self.outputs[0]]
        if oversample:
            predictions = predictions.reshape((len(inputs), 10, -1)).mean(1)
        return predictions

    def _centres(self, images: Array) -> Array:
        middle, half = np.array(self.image_dims) / 2.0, self.crop_dims / 2.0
        top, left = (middle - half).astype(int)
        bottom, right = (middle + half).astype(int)
        return images[:, top:bottom, left:right, :]
