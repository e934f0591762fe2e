"""``caffe.Classifier``: a net that classifies pictures, scaled, cropped, and averaged over ten crops."""

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
    """Return the preprocessing of a net's first input for pictures (H x W x K)."""
    name = net.inputs[0]
    made = io.Transformer({name: net.blobs[name].data.shape})
    made.set_transpose(name, (2, 0, 1))
    if mean is not None:
        made.set_mean(name, mean)
    if input_scale is not None:
        made.set_input_scale(name, input_scale)
    if raw_scale is not None:
        made.set_raw_scale(name, raw_scale)
    if channel_swap is not None:
        made.set_channel_swap(name, channel_swap)
    return made


class Classifier(Net):
    """A net that classifies pictures.

    Parameters
    ----------
    model_file, pretrained_file : the net and its weights.
    image_dims : height and width that pictures are scaled to before they are cropped; by default those of the input.
    mean, input_scale, raw_scale, channel_swap : see :class:`caffe_compat.pycaffe.io.Transformer`.

    Attributes
    ----------
    transformer : the preprocessing.
    image_dims, crop_dims : sizes of scaled pictures and of the input.
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
        """Return the probabilities of every class.

        Parameters
        ----------
        inputs : pictures (H x W x K).
        oversample : whether to average over corners, centre and their mirrors; else the centre alone is classified.

        Returns
        -------
        (N, C).
        """
        scaled = np.zeros((len(inputs), *(int(v) for v in self.image_dims), inputs[0].shape[2]), dtype=np.float32)
        for index, picture in enumerate(inputs):
            scaled[index] = io.resize_image(picture, self.image_dims)
        crops = io.oversample(list(scaled), self.crop_dims) if oversample else self._centres(scaled)
        name = self.inputs[0]
        prepared: dict[str, Any] = {name: np.stack([self.transformer.preprocess(name, crop) for crop in crops])}
        predictions: Array = self.forward_all(**prepared)[self.outputs[0]]
        if oversample:
            predictions = predictions.reshape((len(inputs), 10, -1)).mean(1)
        return predictions

    def _centres(self, pictures: Array) -> Array:
        middle, half = np.array(self.image_dims) / 2.0, self.crop_dims / 2.0
        top, left = (middle - half).astype(int)
        bottom, right = (middle + half).astype(int)
        return pictures[:, top:bottom, left:right, :]
