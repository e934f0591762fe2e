"""Data layers: Input, whose tops the caller fills, and those that :mod:`caffe_compat.data` feeds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import Account, Arity, Layer, LayerSpec, Shape, exactly, register
from caffe_compat.layers.facts import Source
from caffe_compat.schema import caffe_pb2 as pb

_T = TypeVar("_T")
_LEGACY = ("num", "channels", "height", "width")
_TRANSFORM = Account(read=("scale", "mirror", "crop_size", "mean_file", "mean_value", "force_color", "force_gray"))
_BELONGS = "Caffe 1.0 reads transform_param's {}; write it there"
_MOVED = {name: _BELONGS.format(name) for name in ("mean_file", "crop_size", "mirror")}
_SCALE_MOVED = {"scale": _BELONGS.format("scale")}
_COLOUR = dict.fromkeys(("force_color", "force_gray"), "it applies to Data's coded records only")


@register
class Input(Layer):
    """Blobs the caller fills."""

    type = "Input"
    summary = "inputs of the net"
    source = Source.CALLER
    bottoms = exactly(0)
    tops = Arity(0, None)
    accounts = {"input_param": Account(read=("shape",))}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        shapes, tops = spec.param.input_param.shape, spec.param.top
        if len(shapes) not in (0, 1, len(tops)):
            problem = f"needs no shape, 1, or one per top ({len(tops)}), got {len(shapes)}"
            yield spec.error(problem, "input_param.shape", hint=f"none, 1 or {len(tops)}", code="wrong-count")
        for shape in shapes:
            if any(dim < 0 for dim in shape.dim):
                yield spec.error(
                    "dimensions cannot be negative", "input_param.shape", list(shape.dim), code="out-of-range"
                )

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        shapes = [tuple(shape.dim) for shape in spec.param.input_param.shape]
        return tuple(shapes * len(spec.param.top) if len(shapes) == 1 else shapes)

    def stale_reason(self, param: pb.LayerParameter) -> str:
        return "a second forward pass without new input works on the values that the first one left"


class Fed(Layer):
    """Base of the layers that :mod:`caffe_compat.data` feeds; a type without `top_shapes` learns them from its data."""

    bottoms = exactly(0)
    source = Source.FILES

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        return ()


class ImageFed(Fed):
    """Base of the layers that prepare images: the first top has images, the second, if any, their labels."""

    def batch_size(self, param: pb.LayerParameter) -> int:
        """Return the number of images in a batch, which the first of the layer's messages states."""
        return int(getattr(param, next(iter(self.accounts))).batch_size)

    def label_shape(self, batch: int) -> Shape:
        """Return the shape of the labels of a batch of images; a possible one where it depends on the images."""
        return (batch,)

    def is_gray(self, param: pb.LayerParameter) -> bool:
        """Tell whether the images have one channel, as far as the layer's fields decide."""
        return param.transform_param.force_gray

    def image_shape(self, param: pb.LayerParameter) -> Shape:
        """Return (channels, height, width) as far as the layer's fields decide; 0 for what they leave to the data."""
        size = param.transform_param.crop_size
        return 1 if self.is_gray(param) else 3, size, size


@register
class HDF5Data(Fed):
    """Batches from the HDF5 files of a list."""

    type = "HDF5Data"
    summary = "batches from a list of HDF5 files"
    tops = Arity(1, None)
    accounts = {"hdf5_data_param": Account(read=("source", "batch_size", "shuffle"))}


@register
class Data(ImageFed):
    """Batches of a database's records."""

    type = "Data"
    summary = "batches from an LMDB or LevelDB of Datums"
    tops = Arity(1, 2)
    accounts = {
        "data_param": Account(
            read=("source", "batch_size", "backend"),
            ignored={
                "prefetch": "the number of batches prepared ahead does not change them",
                "rand_skip": "Caffe 1.0 no longer reads it",
            },
            rejected=_MOVED | _SCALE_MOVED | {"force_encoded_color": _BELONGS.format("force_color")},
        ),
        "transform_param": _TRANSFORM,
    }

    def drawn_output(self, param: pb.LayerParameter) -> str:
        return f"Batch {param.data_param.batch_size}"


@register
class ImageData(ImageFed):
    """Batches of the images in a list."""

    type = "ImageData"
    summary = "batches from a list of images"
    tops = exactly(2)
    accounts = {
        "image_data_param": Account(
            read=("source", "batch_size", "rand_skip", "shuffle", "new_height", "new_width", "is_color", "root_folder"),
            rejected=_MOVED | _SCALE_MOVED,
        ),
        "transform_param": Account(read=("scale", "mirror", "crop_size", "mean_file", "mean_value"), ignored=_COLOUR),
    }

    def is_gray(self, param: pb.LayerParameter) -> bool:
        return super().is_gray(param) or not param.image_data_param.is_color

    def image_shape(self, param: pb.LayerParameter) -> Shape:
        (channels, height, width), images = super().image_shape(param), param.image_data_param
        return channels, height or images.new_height, width or images.new_width


@register
class WindowData(ImageFed):
    """Batches of windows cut out of images."""

    type = "WindowData"
    summary = "batches of image windows"
    tops = exactly(2)
    accounts = {
        "window_data_param": Account(
            read=(
                "source",
                "scale",
                "batch_size",
                "fg_threshold",
                "bg_threshold",
                "fg_fraction",
                "context_pad",
                "crop_mode",
                "root_folder",
            ),
            ignored={"cache_images": "a cache of the files does not change the images"},
            rejected=_MOVED,
        ),
        "transform_param": Account(
            read=("mirror", "crop_size", "mean_file", "mean_value"),
            ignored=_COLOUR,
            rejected={"scale": "Caffe's WindowData multiplies by window_data_param's scale; write it there"},
        ),
    }

    def image_shape(self, param: pb.LayerParameter) -> Shape:
        channels, size, _ = super().image_shape(param)
        size = size or param.window_data_param.crop_size
        return channels, size, size


@register
class MemoryData(ImageFed):
    """Batches from arrays of the caller."""

    type = "MemoryData"
    summary = "batches from the caller's arrays"
    source = Source.ARRAYS
    tops = exactly(2)
    accounts = {
        "memory_data_param": Account(read=("batch_size", "channels", "height", "width")),
        "transform_param": _TRANSFORM,
    }

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        yield from spec.at_least_one("memory_data_param", "batch_size", "channels", "height", "width")

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        param = spec.param.memory_data_param
        return (param.batch_size, param.channels, param.height, param.width), (param.batch_size,)

    def is_gray(self, param: pb.LayerParameter) -> bool:
        return super().is_gray(param) or param.memory_data_param.channels == 1

    def image_shape(self, param: pb.LayerParameter) -> Shape:
        (_, height, width), images = super().image_shape(param), param.memory_data_param
        return images.channels, height or images.height, width or images.width


@register
class DummyData(Fed):
    """Tops filled by fillers, anew for every batch unless they are constant."""

    type = "DummyData"
    summary = "batches drawn from fillers"
    source = Source.FILLERS
    tops = Arity(1, None)
    accounts = {"dummy_data_param": Account(read=("data_filler", "shape", *_LEGACY))}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        for field, problem in dummy_shapes(spec.param)[1]:
            yield spec.error(problem, f"dummy_data_param.{field}", code="wrong-count")

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        return dummy_shapes(spec.param)[0]

    def stale_reason(self, param: pb.LayerParameter) -> str:
        if any(filler.type != "constant" for filler in param.dummy_data_param.data_filler):
            return ""
        return "constant fillers are written once: every pass works on the values that the last one left"


def dummy_shapes(layer: pb.LayerParameter) -> tuple[tuple[Shape, ...], list[tuple[str, str]]]:
    """Return the shapes of a DummyData layer's tops; or its faults, as pairs of field and problem."""
    param, tops = layer.dummy_data_param, len(layer.top)
    problems: list[tuple[str, str]] = []
    legacy = any(len(getattr(param, field)) for field in _LEGACY)
    fields = _LEGACY if legacy else ("shape",)
    if legacy and len(param.shape):
        problems.append(("shape", "conflicts with num, channels, height and width: keep one form"))
    for field in fields:
        count = len(getattr(param, field))
        if count not in (1, tops):
            problems.append((field, f"needs one value, or one per top ({tops}), got {count}"))
    if len(param.data_filler) not in (0, 1, tops):
        problems.append(("data_filler", f"needs no filler, 1, or one per top ({tops}), got {len(param.data_filler)}"))
    if problems:
        return (), problems
    if legacy:
        columns = [_each(list(getattr(param, field)), tops) for field in _LEGACY]
        shapes: list[Shape] = list(zip(*columns, strict=True))
    else:
        shapes = _each([tuple(shape.dim) for shape in param.shape], tops)
    if any(dim < 1 for shape in shapes for dim in shape):
        return (), [(fields[0], "dimensions must be positive")]
    return tuple(shapes), []


def _each(values: list[_T], count: int) -> list[_T]:
    return values * count if len(values) == 1 else values
