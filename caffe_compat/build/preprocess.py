"""Preprocessing: the operations on an image before it enters a net.

The arithmetic is that of Caffe's data layers (BVLC Caffe 9b89154, data_transformer.cpp):
``(x * raw_scale - mean) * scale`` with x from 0 to 255, blue first, the mean image subtracted before the crop, the
crop in the middle. A caffemodel does not record how images were prepared: a small file next to it does,
NAME.preprocess.json, which :func:`caffe_compat.load_net` finds.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from caffe_compat.definition.filtering import net_state
from caffe_compat.definition.prepare import prepare
from caffe_compat.errors import DataError, FileError
from caffe_compat.formats.files import atomic_path, read_binary, read_bytes
from caffe_compat.formats.image_size import size_problem
from caffe_compat.layers import REGISTRY, facts
from caffe_compat.layers.data import ImageFed
from caffe_compat.schema import caffe_pb2 as pb

PathLike = str | os.PathLike[str]
ORDERS = ("BGR", "RGB", "GRAY")
SUFFIX = ".preprocess.json"
_VERSION = 1
_LARGEST = 1 << 28  # bytes of a file that is read
_FIELDS = {"version", "input", "channels", "resize", "short_side", "crop", "raw_scale", "mean", "scale"}


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """The operations that turn an image into the input of a net.

    Attributes
    ----------
    channels : order of the net's channels: "BGR" (Caffe's data layers), "RGB" or "GRAY".
    resize : (height, width) that images are resized to, or None.
    crop : (height, width) of the centre crop, or None.
    raw_scale : multiplies values of 0 to 255 first; 1/255 for nets that take 0 to 1.
    mean : subtracted then: None, one value per channel, or an image (channels, height, width).
    scale : multiplies the difference.
    input : the net's blob.
    short_side : what the shorter side of images is resized to, in place of `resize`; the other side keeps the
        proportion, rounded down, as torchvision's ``Resize`` does.
    """

    channels: str = "BGR"
    resize: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    raw_scale: float = 1.0
    mean: npt.NDArray[np.float32] | None = None
    scale: float = 1.0
    input: str = "data"
    short_side: int | None = None

    def __post_init__(self) -> None:
        if self.channels not in ORDERS:
            raise DataError(
                "unknown order of channels",
                code="name-unknown",
                field="channels",
                value=self.channels,
                hint=f"use one of {', '.join(ORDERS)}",
            )
        for name in ("resize", "crop"):
            extents = getattr(self, name)
            if extents is not None and (len(extents) != 2 or min(extents) < 1):
                raise DataError("must be a height and a width", code="invalid", field=name, value=extents)
            if extents is not None and (problem := size_problem(extents[1], extents[0])):
                raise DataError(problem, code="too-large", field=name, value=extents)
        self._check_short_side()
        for name in ("raw_scale", "scale"):
            if not math.isfinite(getattr(self, name)):
                raise DataError("must be finite", code="not-finite", field=name, value=getattr(self, name))
        count = 1 if self.channels == "GRAY" else 3
        mean = self.mean
        if mean is not None and (mean.ndim not in (1, 3) or len(mean) != count or not np.isfinite(mean).all()):
            problem = (
                f"has shape {mean.shape}, {self.channels} expects ({count},) or ({count}, height, width), all finite"
            )
            raise DataError(problem, code="shape-mismatch", field="mean")

    def _check_short_side(self) -> None:
        side = self.short_side
        if side is None:
            return
        if self.resize is not None:
            hint = "set one of the two"
            raise DataError("conflicts with resize", code="conflict", field="short_side", value=side, hint=hint)
        if type(side) is not int or side < 1:
            raise DataError("must be a positive integer", code="invalid", field="short_side", value=side)
        if problem := size_problem(side, side):
            raise DataError(problem, code="too-large", field="short_side", value=side)

    def __call__(self, image: npt.NDArray[Any], order: str = "RGB") -> npt.NDArray[np.float32]:
        """Return what the net takes: float32, (channels, height, width).

        Parameters
        ----------
        image : (height, width) or (height, width, 3) with values of 0 to 255, bytes or floats.
        order : order of its channels, "RGB" (Pillow, matplotlib) or "BGR" (OpenCV).

        Raises
        ------
        DataError
            The array is not an image, is smaller than the crop, or its size is not that of the mean image; or it is so
            long that its size for `short_side` is too large.
        """
        if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3)) or order not in ORDERS[:2]:
            problem = f"image has shape {image.shape} and order {order}"
            hint = "pass (height, width) or (height, width, 3), in RGB or BGR"
            raise DataError(problem, code="shape-mismatch", hint=hint)
        x = self._channels(image, order)
        size = self._size(x.shape[0], x.shape[1])
        if x.shape[:2] != size:
            import cv2

            x = cv2.resize(x, size[::-1], interpolation=cv2.INTER_LINEAR)
        y = np.atleast_3d(x).astype(np.float32).transpose(2, 0, 1) * np.float32(self.raw_scale)
        if self.mean is not None:
            mean = self.mean.reshape(-1, 1, 1) if self.mean.ndim == 1 else self.mean
            if self.mean.ndim == 3 and mean.shape != y.shape:
                problem = f"has shape {mean.shape}, the image has {y.shape}"
                raise DataError(problem, code="shape-mismatch", field="mean", hint="set resize to the size of the mean")
            y = y - mean
        if self.crop is not None:
            top, left = ((extent - size) // 2 for extent, size in zip(y.shape[1:], self.crop, strict=True))
            if min(top, left) < 0:
                problem = f"is larger than the image {y.shape[1:]}"
                raise DataError(problem, code="out-of-range", field="crop", value=self.crop)
            y = y[:, top : top + self.crop[0], left : left + self.crop[1]]
        return np.ascontiguousarray(y * np.float32(self.scale), np.float32)

    def _size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width that an image of this size is resized to."""
        if self.short_side is None or not min(height, width):
            return self.resize or (height, width)
        shorter = min(height, width)
        size = self.short_side * height // shorter, self.short_side * width // shorter
        if problem := size_problem(size[1], size[0]):
            raise DataError(problem, code="too-large", field="short_side", value=self.short_side)
        return size

    def _channels(self, image: npt.NDArray[Any], order: str) -> npt.NDArray[Any]:
        """Return the image with the net's channels, as bytes if it was given as bytes."""
        x = image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image
        x = np.ascontiguousarray(x if x.dtype == np.uint8 else x.astype(np.float32))
        if self.channels == "GRAY":
            if x.ndim == 2:
                return x
            import cv2

            return cv2.cvtColor(x, cv2.COLOR_RGB2GRAY if order == "RGB" else cv2.COLOR_BGR2GRAY)
        if x.ndim == 2:
            return np.repeat(x[:, :, None], 3, axis=2)
        return x if order == self.channels else np.ascontiguousarray(x[:, :, ::-1])


def preprocessing_of(
    net: PathLike | pb.NetParameter, phase: str = "TEST", base_dir: PathLike | None = None
) -> Preprocessing:
    """Return what a net's data layer does to images: its transform_param in a phase.

    Parameters
    ----------
    net : definition with a Data, ImageData, MemoryData or WindowData layer.
    phase : "TEST" or "TRAIN".
    base_dir : folder searched for a mean_file after the working directory; by default the definition's folder.

    Raises
    ------
    DataError, FileError
        The net has no such layer, or its mean cannot be read.
    """
    prepared = prepare(net, net_state(phase), base_dir=base_dir)
    layers = ((layer, facts(layer.type)) for layer in prepared.message.layer)
    layer, feeder = next(((layer, fed) for layer, fed in layers if isinstance(fed, ImageFed)), (None, None))
    if layer is None or feeder is None:
        raise DataError(
            f"has no layer in {phase} that prepares images",
            code="field-missing",
            file=None if isinstance(net, pb.NetParameter) else net,
            hint=", ".join(sorted(name for name, layer_type in REGISTRY.items() if isinstance(layer_type, ImageFed))),
        )
    transform, images = layer.transform_param, layer.image_data_param
    mean = np.array(transform.mean_value, np.float32) if transform.mean_value else None
    if transform.mean_file:
        mean = _mean_file(transform.mean_file, prepared.base_dir)
    channels = "GRAY" if feeder.is_gray(layer) or (mean is not None and mean.ndim == 3 and len(mean) == 1) else "BGR"
    if mean is not None and mean.ndim == 1 and len(mean) == 1 and channels == "BGR":
        mean = np.repeat(mean, 3)
    size = (images.new_height, images.new_width) if images.new_height and images.new_width else None
    if size is None and mean is not None and mean.ndim == 3:
        size = (mean.shape[1], mean.shape[2])
    crop = (transform.crop_size, transform.crop_size) if transform.crop_size else None
    return Preprocessing(channels, size, crop, 1.0, mean, transform.scale, layer.top[0] if layer.top else "data")


def _mean_file(name: str, folder: Path) -> npt.NDArray[np.float32]:
    path = next((place for place in (Path(name), folder / name) if place.is_file()), Path(name))
    message, store = read_binary(path, pb.BlobProto)
    mean = store.data(message).astype(np.float32)
    if mean.ndim == 4 and len(mean) == 1:
        mean = mean[0]
    if mean.ndim != 3:
        problem = f"the mean has shape {mean.shape}, expected (channels, height, width)"
        raise FileError(problem, code="shape-mismatch", file=path)
    return mean


def to_json(preprocessing: Preprocessing) -> str:
    """Return the text of a sidecar file; values come back bit for bit."""
    mean: Any = None
    if preprocessing.mean is not None and preprocessing.mean.ndim == 1:
        mean = [float(value) for value in preprocessing.mean]
    elif preprocessing.mean is not None:
        content = base64.b64encode(preprocessing.mean.astype("<f4").tobytes()).decode()
        mean = {"shape": list(preprocessing.mean.shape), "float32": content}
    fields = {
        "version": _VERSION,
        "input": preprocessing.input,
        "channels": preprocessing.channels,
        "resize": preprocessing.resize,
        "short_side": preprocessing.short_side,
        "crop": preprocessing.crop,
        "raw_scale": preprocessing.raw_scale,
        "mean": mean,
        "scale": preprocessing.scale,
    }
    return json.dumps({name: value for name, value in fields.items() if value is not None}, indent=1) + "\n"


def save_preprocessing(preprocessing: Preprocessing, weights: PathLike) -> Path:
    """Write the preprocessing file next to weights, complete or not at all; return its path."""
    path = sidecar_path(weights)
    with atomic_path(path) as partial:
        partial.write_text(to_json(preprocessing), encoding="utf-8")
    return path


def sidecar_path(weights: PathLike) -> Path:
    """Return the path of the preprocessing file of weights: ``a/HQ.caffemodel`` -> ``a/HQ.preprocess.json``."""
    path = Path(weights)
    name = path.name.removesuffix(".h5")
    stem = name.removesuffix(Path(name).suffix) if Path(name).suffix else name
    return path.with_name(stem + SUFFIX)


def load_preprocessing(weights: PathLike) -> Preprocessing | None:
    """Return the preprocessing kept with a file of weights, or None.

    Raises
    ------
    FileError
        The sidecar file exists and cannot be used.
    """
    path = sidecar_path(weights)
    return read_preprocessing(path) if path.is_file() else None


def read_preprocessing(path: PathLike) -> Preprocessing:
    """Read a sidecar file; refuse one that is of another kind, or has an invalid value."""
    file = Path(path)
    if file.is_file() and file.stat().st_size > _LARGEST:
        raise FileError(f"is larger than {_LARGEST} bytes", code="too-large", file=file)
    try:
        text = read_bytes(file).decode()
    except ValueError as error:
        raise FileError(f"is not JSON: {error}", code="syntax", file=file) from None
    return parse_preprocessing(text, file)


def parse_preprocessing(text: str, file: PathLike) -> Preprocessing:
    """Parse the text of a sidecar file; raises as :func:`read_preprocessing` does, naming `file`."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileError(f"is not JSON: {error}", code="syntax", file=file) from None
    if not isinstance(fields, dict) or fields.get("version") != _VERSION:
        problem = "is not a preprocessing file"
        raise FileError(problem, code="wrong-format", file=file, hint=f'it needs "version": {_VERSION}')
    unknown = sorted(fields.keys() - _FIELDS)
    if unknown:
        hint = f"use {', '.join(sorted(_FIELDS))}"
        raise FileError("unknown field", code="field-unknown", file=file, field=unknown[0], hint=hint)
    try:
        return _from_fields(fields)
    except DataError as error:
        raise FileError(
            error.problem, code=error.code, file=file, field=error.field, value=error.value, hint=error.hint
        ) from None


def _from_fields(fields: Mapping[str, Any]) -> Preprocessing:
    return Preprocessing(
        channels=_text(fields, "channels", "BGR"),
        resize=_extents(fields, "resize"),
        crop=_extents(fields, "crop"),
        raw_scale=_number(fields, "raw_scale"),
        mean=_mean(fields.get("mean")),
        scale=_number(fields, "scale"),
        input=_text(fields, "input", "data"),
        short_side=fields.get("short_side"),
    )


def _text(fields: Mapping[str, Any], name: str, default: str) -> str:
    value = fields.get(name, default)
    if not isinstance(value, str):
        raise DataError("must be a string", code="wrong-type", field=name, value=value)
    return value


def _number(fields: Mapping[str, Any], name: str) -> float:
    value = fields.get(name, 1.0)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError("must be a number", code="wrong-type", field=name, value=value)
    return float(value)


def _extents(fields: Mapping[str, Any], name: str) -> tuple[int, int] | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2 or not all(type(extent) is int for extent in value):
        raise DataError("must be a height and a width", code="invalid", field=name, value=value)
    return value[0], value[1]


def _mean(value: Any) -> npt.NDArray[np.float32] | None:
    if value is None:
        return None
    try:
        if isinstance(value, list):
            return np.array(value, np.float32)
        content = np.frombuffer(base64.b64decode(value["float32"], validate=True), "<f4")
        return content.reshape([int(extent) for extent in value["shape"]]).astype(np.float32)
    except (TypeError, KeyError, ValueError, OverflowError, binascii.Error):
        raise DataError(
            "must be a list of values, or a shape and float32 values", code="wrong-type", field="mean"
        ) from None
