"""``caffe.io``: read, resize and preprocess images; convert arrays to and from BlobProto and Datum.

Source: pycaffe's io, BVLC Caffe 9b89154, which reads and resizes images with scikit-image. Pillow and SciPy return the
same numbers here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from caffe_compat.formats.blobs import blob_shape
from caffe_compat.pycaffe.image_io import load_image, oversample, resize_image
from caffe_compat.schema import caffe_pb2

__all__ = [
    "Transformer",
    "array_to_blobproto",
    "array_to_datum",
    "arraylist_to_blobprotovector_str",
    "blobproto_to_array",
    "blobprotovector_str_to_arraylist",
    "caffe_pb2",
    "datum_to_array",
    "load_image",
    "oversample",
    "resize_image",
]

Array = np.ndarray[Any, np.dtype[Any]]

# Arrays in messages.


def blobproto_to_array(blob: caffe_pb2.BlobProto, return_diff: bool = False) -> Array:  # noqa: FBT001, FBT002
    """Return a blob's data or diff as an array.

    Returns
    -------
    float64, protobuf's type; the legacy shape (num, channels, height, width) takes precedence over `shape`.

    Raises
    ------
    ValueError
        If the number of values does not match the shape; a blob without a shape is a scalar.
    """
    name = "diff" if return_diff else "data"
    values = getattr(blob, name) or getattr(blob, f"double_{name}")
    return np.array(values, dtype=np.float64).reshape(blob_shape(blob))


def array_to_blobproto(arr: Array, diff: Array | None = None) -> caffe_pb2.BlobProto:
    """Convert an array, and a diff of the same shape, to a blob."""
    blob = caffe_pb2.BlobProto()
    blob.shape.dim.extend(arr.shape)
    blob.data.extend(arr.astype(float).flat)
    if diff is not None:
        blob.diff.extend(diff.astype(float).flat)
    return blob


def arraylist_to_blobprotovector_str(arraylist: Iterable[Array]) -> bytes:
    """Serialize arrays as a BlobProtoVector."""
    vector = caffe_pb2.BlobProtoVector()
    vector.blobs.extend(array_to_blobproto(array) for array in arraylist)
    return vector.SerializeToString()


def blobprotovector_str_to_arraylist(str: bytes) -> list[Array]:  # noqa: A002  (pycaffe's argument name)
    """Return the arrays of a serialized BlobProtoVector."""
    vector = caffe_pb2.BlobProtoVector()
    vector.ParseFromString(str)
    return [blobproto_to_array(blob) for blob in vector.blobs]


def array_to_datum(arr: Array, label: int | None = None) -> caffe_pb2.Datum:
    """Convert an image (K x H x W) to a Datum: uint8 as bytes, any other dtype as floats."""
    if arr.ndim != 3:
        raise ValueError(f"Incorrect array shape: {arr.shape}; a Datum needs (channels, height, width)")
    datum = caffe_pb2.Datum()
    datum.channels, datum.height, datum.width = arr.shape
    if arr.dtype == np.uint8:
        datum.data = arr.tobytes()
    else:
        datum.float_data.extend(arr.astype(float).flat)
    if label is not None:
        datum.label = label
    return datum


def datum_to_array(datum: caffe_pb2.Datum) -> Array:
    """Return a Datum's image (K x H x W), uint8 or float64; its label is `datum.label`."""
    shape = (datum.channels, datum.height, datum.width)
    if datum.encoded:
        raise ValueError("the Datum contains an encoded image; decode datum.data with cv2.imdecode or PIL.Image.open")
    if datum.data:
        return np.frombuffer(datum.data, dtype=np.uint8).reshape(shape).copy()
    return np.array(datum.float_data, dtype=np.float64).reshape(shape)


# Preprocessing.


class Transformer:
    """The preprocessing of images for a net.

    In this order: convert to float32, resize to the input's size, transpose to K x H x W, swap channels, multiply by
    `raw_scale`, subtract `mean`, multiply by `input_scale`.

    Parameters
    ----------
    inputs : input blob -> its shape (N, K, H, W).

    Notes
    -----
    Genuine pycaffe overwrites the caller's array if it is float32, has the input's size and is not swapped; this class
    never does.
    """

    def __init__(self, inputs: Mapping[str, Sequence[int]]) -> None:
        self.inputs = inputs
        self.transpose: dict[str, Sequence[int]] = {}
        self.channel_swap: dict[str, Sequence[int]] = {}
        self.raw_scale: dict[str, float] = {}
        self.mean: dict[str, Array] = {}
        self.input_scale: dict[str, float] = {}

    def __check_input(self, in_: str) -> None:
        if in_ not in self.inputs:
            raise Exception(f"{in_} is not one of the net inputs: {self.inputs}")  # noqa: TRY002  (as pycaffe's)

    def preprocess(self, in_: str, data: Array) -> Array:
        """Convert an image (H' x W' x K) to the input's format (K x H x W), float32."""
        self.__check_input(in_)
        caffe_in = data.astype(np.float32, copy=False)
        in_dims = tuple(self.inputs[in_][2:])
        if caffe_in.shape[:2] != in_dims:
            caffe_in = resize_image(caffe_in, in_dims)
        if in_ in self.transpose:
            caffe_in = caffe_in.transpose(self.transpose[in_])
        if in_ in self.channel_swap:
            caffe_in = caffe_in[list(self.channel_swap[in_]), :, :]
        if np.may_share_memory(caffe_in, data):
            caffe_in = caffe_in.copy()
        if self.raw_scale.get(in_) is not None:
            caffe_in *= self.raw_scale[in_]
        if self.mean.get(in_) is not None:
            caffe_in -= self.mean[in_]
        if self.input_scale.get(in_) is not None:
            caffe_in *= self.input_scale[in_]
        return caffe_in

    def deprocess(self, in_: str, data: Array) -> Array:
        """Undo :meth:`preprocess`, except for the resizing."""
        self.__check_input(in_)
        decaf_in = data.copy().squeeze()
        if self.input_scale.get(in_) is not None:
            decaf_in /= self.input_scale[in_]
        if self.mean.get(in_) is not None:
            decaf_in += self.mean[in_]
        if self.raw_scale.get(in_) is not None:
            decaf_in /= self.raw_scale[in_]
        if in_ in self.channel_swap:
            decaf_in = decaf_in[np.argsort(self.channel_swap[in_]), :, :]
        if in_ in self.transpose:
            decaf_in = decaf_in.transpose(np.argsort(self.transpose[in_]))
        return decaf_in

    def set_transpose(self, in_: str, order: Sequence[int]) -> None:
        """Set the order of the axes: (2, 0, 1) turns H x W x K into K x H x W."""
        self.__check_input(in_)
        if len(order) != len(self.inputs[in_]) - 1:
            raise Exception("Transpose order needs to have the same number of dimensions as the input.")  # noqa: TRY002
        self.transpose[in_] = order

    def set_channel_swap(self, in_: str, order: Sequence[int]) -> None:
        """Set the order of the channels, the first axis after transposing: (2, 1, 0) turns RGB into BGR."""
        self.__check_input(in_)
        if len(order) != self.inputs[in_][1]:
            raise Exception(  # noqa: TRY002
                "Channel swap needs to have the same number of dimensions as the input channels."
            )
        self.channel_swap[in_] = order

    def set_raw_scale(self, in_: str, scale: float) -> None:
        """Set the factor applied before the mean is subtracted: 255 for nets that expect 0 to 255."""
        self.__check_input(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_: str, mean: Array) -> None:
        """Set the mean to subtract: one value per channel (K), or an image (K x H x W), resized if necessary."""
        self.__check_input(in_)
        if mean.ndim == 1:
            if mean.shape[0] != self.inputs[in_][1]:
                raise ValueError(f"Mean channels incompatible with input: {mean.shape[0]} for {self.inputs[in_][1]}.")
            mean = mean[:, np.newaxis, np.newaxis]
        else:
            shape = (1, *mean.shape) if mean.ndim == 2 else mean.shape
            if len(shape) != 3:
                raise ValueError(f"Mean shape invalid: {mean.shape}")
            if shape != tuple(self.inputs[in_][1:]):
                mean = self._resize_mean(mean.reshape(shape), tuple(self.inputs[in_][2:]))
        self.mean[in_] = mean

    @staticmethod
    def _resize_mean(mean: Array, size: tuple[int, ...]) -> Array:
        low, high = mean.min(), mean.max()
        if low == high:  # pycaffe divides by zero here
            return np.full((mean.shape[0], *size), low, dtype=np.float32)
        normal = (mean - low) / (high - low)
        resized: Array = resize_image(normal.transpose((1, 2, 0)), size).transpose((2, 0, 1)) * (high - low) + low
        return resized

    def set_input_scale(self, in_: str, scale: float) -> None:
        """Set the factor applied last."""
        self.__check_input(in_)
        self.input_scale[in_] = scale
