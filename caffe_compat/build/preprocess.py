"""What is done to pictures before a net sees them.

The arithmetic is that of Caffe's data layers (BVLC Caffe 9b89154, data_transformer.cpp):
``(x * raw_scale - mean) * scale`` with x from 0 to 255, blue first, the mean picture taken off before the crop, the
crop in the middle. A caffemodel does not say how images were prepared: a small file beside it, NAME.preprocess.json,
keeps it, and :func:`caffe_compat.load_net` finds that file.
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

import cv2
import numpy as np
import numpy.typing as npt

from caffe_compat.definition.filtering import net_state
from caffe_compat.definition.prepare import prepare
from caffe_compat.errors import DataError, FileError
from caffe_compat.formats.files import atomic_path, read_binary
from caffe_compat.formats.image_size import size_problem
from caffe_compat.layers import REGISTRY, facts
from caffe_compat.layers.data import ImageFed
from caffe_compat.schema import caffe_pb2 as pb

PathLike = str | os.PathLike[str]
ORDERS = ("BGR", "RGB", "GRAY")
SUFFIX = ".preprocess.json"
_VERSION = 1
_LARGEST = 1 << 28  # bytes of a file that is read
_KNOWN = {"version", "input", "channels", "resize", "crop", "raw_scale", "mean", "scale"}


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """From a picture to what a net takes.

    Attributes
    ----------
    channels : order of the net's channels: "BGR" (Caffe's data layers), "RGB" or "GRAY".
    resize : (height, width) that pictures are brought to, or None.
    crop : (height, width) cut out of the middle, or None.
    raw_scale : what values of 0 to 255 are multiplied by first; 1/255 for nets that take 0 to 1.
    mean : taken off then: nothing, one value a channel, or a picture (channels, height, width).
    scale : what the rest is multiplied by.
    input : the net's blob.
    """

    channels: str = "BGR"
    resize: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    raw_scale: float = 1.0
    mean: npt.NDArray[np.float32] | None = None
    scale: float = 1.0
    input: str = "data"

    def __post_init__(self) -> None:
        if self.channels not in ORDERS:
            raise DataError("no such order", field="channels", value=self.channels, hint=", ".join(ORDERS))
        for name in ("resize", "crop"):
            extents = getattr(self, name)
            if extents is not None and (len(extents) != 2 or min(extents) < 1):
                raise DataError("must be a height and a width", field=name, value=extents)
            if extents is not None and (problem := size_problem(extents[1], extents[0])):
                raise DataError(problem, field=name, value=extents)
        for name in ("raw_scale", "scale"):
            if not math.isfinite(getattr(self, name)):
                raise DataError("must be a number", field=name, value=getattr(self, name))
        count = 1 if self.channels == "GRAY" else 3
        mean = self.mean
        if mean is not None and (mean.ndim not in (1, 3) or len(mean) != count or not np.isfinite(mean).all()):
            hint = f"{count} values, or a picture ({count}, height, width)"
            raise DataError(f"of the shape {mean.shape} does not fit {self.channels}", field="mean", hint=hint)

    def __call__(self, picture: npt.NDArray[Any], order: str = "RGB") -> npt.NDArray[np.float32]:
        """Return what the net takes: float32, (channels, height, width).

        Parameters
        ----------
        picture : (height, width) or (height, width, 3) with values of 0 to 255, bytes or floats.
        order : of its channels, "RGB" (Pillow, matplotlib) or "BGR" (OpenCV).

        Raises
        ------
        DataError
            It is no picture, smaller than the crop, or of another size than the mean picture.
        """
        if (
            picture.ndim not in (2, 3)
            or (picture.ndim == 3 and picture.shape[2] not in (1, 3))
            or order not in ORDERS[:2]
        ):
            problem = f"an array of shape {picture.shape} in the order {order} is no picture"
            raise DataError(problem, hint="(height, width) or (height, width, 3), RGB or BGR")
        x = self._channels(picture, order)
        if self.resize is not None and x.shape[:2] != self.resize:
            x = cv2.resize(x, self.resize[::-1], interpolation=cv2.INTER_LINEAR)
        y = np.atleast_3d(x).astype(np.float32).transpose(2, 0, 1) * np.float32(self.raw_scale)
        if self.mean is not None:
            mean = self.mean.reshape(-1, 1, 1) if self.mean.ndim == 1 else self.mean
            if self.mean.ndim == 3 and mean.shape != y.shape:
                raise DataError(f"is {mean.shape}, the picture {y.shape}", field="mean", hint="resize to its size")
            y = y - mean
        if self.crop is not None:
            top, left = ((extent - wanted) // 2 for extent, wanted in zip(y.shape[1:], self.crop, strict=True))
            if min(top, left) < 0:
                raise DataError(f"is larger than the picture {y.shape[1:]}", field="crop", value=self.crop)
            y = y[:, top : top + self.crop[0], left : left + self.crop[1]]
        return np.ascontiguousarray(y * np.float32(self.scale), np.float32)

    def _channels(self, picture: npt.NDArray[Any], order: str) -> npt.NDArray[Any]:
        """Return the picture with the net's channels, as bytes where it came as bytes."""
        x = picture[:, :, 0] if picture.ndim == 3 and picture.shape[2] == 1 else picture
        x = np.ascontiguousarray(x if x.dtype == np.uint8 else x.astype(np.float32))
        if self.channels == "GRAY":
            if x.ndim == 2:
                return x
            return cv2.cvtColor(x, cv2.COLOR_RGB2GRAY if order == "RGB" else cv2.COLOR_BGR2GRAY)
        if x.ndim == 2:
            return np.repeat(x[:, :, None], 3, axis=2)
        return x if order == self.channels else np.ascontiguousarray(x[:, :, ::-1])


def preprocessing_of(
    net: PathLike | pb.NetParameter, phase: str = "TEST", base_dir: PathLike | None = None
) -> Preprocessing:
    """Return what a net's data layer does to pictures: its transform_param, as a phase has it.

    Parameters
    ----------
    net : definition with a Data, ImageData, MemoryData or WindowData layer.
    phase : "TEST" or "TRAIN".
    base_dir : where a mean_file is looked for after the working directory; by default the definition's folder.

    Raises
    ------
    DataError, FileError
        There is no such layer, or its mean cannot be read.
    """
    prepared = prepare(net, net_state(phase), base_dir=base_dir)
    layers = ((layer, facts(layer.type)) for layer in prepared.message.layer)
    layer, feeder = next(((layer, fed) for layer, fed in layers if isinstance(fed, ImageFed)), (None, None))
    if layer is None or feeder is None:
        raise DataError(
            f"has no layer in {phase} that prepares pictures",
            file=None if isinstance(net, pb.NetParameter) else net,
            hint=", ".join(sorted(name for name, known in REGISTRY.items() if isinstance(known, ImageFed))),
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
        raise FileError(f"a mean picture is expected, not the shape {mean.shape}", file=path)
    return mean


def to_json(kept: Preprocessing) -> str:
    """Return the text of a sidecar file; values come back bit for bit."""
    mean: Any = None
    if kept.mean is not None and kept.mean.ndim == 1:
        mean = [float(value) for value in kept.mean]
    elif kept.mean is not None:
        content = base64.b64encode(kept.mean.astype("<f4").tobytes()).decode()
        mean = {"shape": list(kept.mean.shape), "float32": content}
    fields = {
        "version": _VERSION,
        "input": kept.input,
        "channels": kept.channels,
        "resize": kept.resize,
        "crop": kept.crop,
        "raw_scale": kept.raw_scale,
        "mean": mean,
        "scale": kept.scale,
    }
    return json.dumps({name: value for name, value in fields.items() if value is not None}, indent=1) + "\n"


def save_preprocessing(kept: Preprocessing, weights: PathLike) -> Path:
    """Write the file that belongs to a file of weights, complete or not at all; return its path."""
    path = sidecar_path(weights)
    with atomic_path(path) as partial:
        partial.write_text(to_json(kept), encoding="utf-8")
    return path


def sidecar_path(weights: PathLike) -> Path:
    """Return where the preprocessing of a file of weights lies: ``a/HQ.caffemodel`` -> ``a/HQ.preprocess.json``."""
    path = Path(weights)
    name = path.name.removesuffix(".h5")
    stem = name.removesuffix(Path(name).suffix) if Path(name).suffix else name
    return path.with_name(stem + SUFFIX)


def load_preprocessing(weights: PathLike) -> Preprocessing | None:
    """Return what lies beside a file of weights, or None.

    Raises
    ------
    FileError
        The sidecar file is there and cannot be used.
    """
    path = sidecar_path(weights)
    return read_preprocessing(path) if path.is_file() else None


def read_preprocessing(path: PathLike) -> Preprocessing:
    """Return what a sidecar file says.

    Raises
    ------
    FileError
        It cannot be read, is no such file, or says what cannot be.
    """
    file = Path(path)
    try:
        if file.stat().st_size > _LARGEST:
            raise FileError(f"is larger than {_LARGEST} bytes", file=file)
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"cannot be read: {error.strerror or error}", file=file) from None
    except (ValueError, RecursionError) as error:
        raise FileError(f"is no JSON: {error}", file=file) from None
    if not isinstance(found, dict) or found.get("version") != _VERSION:
        raise FileError("does not say how pictures are prepared", file=file, hint=f'"version": {_VERSION}')
    strange = sorted(found.keys() - _KNOWN)
    if strange:
        raise FileError("no such field", file=file, field=strange[0], hint=f"known: {', '.join(sorted(_KNOWN))}")
    try:
        return _from_fields(found)
    except DataError as error:
        raise FileError(error.problem, file=file, field=error.field, value=error.value, hint=error.hint) from None


def _from_fields(found: Mapping[str, Any]) -> Preprocessing:
    return Preprocessing(
        channels=_text(found, "channels", "BGR"),
        resize=_extents(found, "resize"),
        crop=_extents(found, "crop"),
        raw_scale=_number(found, "raw_scale"),
        mean=_mean(found.get("mean")),
        scale=_number(found, "scale"),
        input=_text(found, "input", "data"),
    )


def _text(found: Mapping[str, Any], name: str, default: str) -> str:
    value = found.get(name, default)
    if not isinstance(value, str):
        raise DataError("must be a text", field=name, value=value)
    return value


def _number(found: Mapping[str, Any], name: str) -> float:
    value = found.get(name, 1.0)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError("must be a number", field=name, value=value)
    return float(value)


def _extents(found: Mapping[str, Any], name: str) -> tuple[int, int] | None:
    value = found.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2 or not all(type(extent) is int for extent in value):
        raise DataError("must be a height and a width", field=name, value=value)
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
        raise DataError("must be a list of values, or a shape and its float32 values", field="mean") from None
