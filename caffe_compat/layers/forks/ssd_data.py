"""AnnotatedData and VideoData: the data layers of SSD, and its fork's additions to transform_param."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from caffe_compat.definition.forks import FORKS, read_additions
from caffe_compat.errors import CaffeCompatError, raise_together
from caffe_compat.layers.base import Account, Arity, LayerSpec, Shape, register
from caffe_compat.layers.data import ImageFed
from caffe_compat.layers.facts import Evidence
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.schema import forks_pb2 as fb

_UNREAD = "the fork does not read it here"
_TRANSFORM = Account(
    read=(
        *("scale", "mirror", "crop_size", "mean_file", "mean_value", "force_color", "force_gray"),
        *("resize_param", "noise_param", "emit_constraint", "crop_h", "crop_w", "distort_param", "expand_param"),
    )
)
_VIDEO_ONLY = {"emit_constraint": "a video has no boxes", "distort_param": _UNREAD, "expand_param": _UNREAD}
_VIDEO_COLOUR = {"force_color": _UNREAD, "force_gray": _UNREAD}
_DATA = {"prefetch": "the number of batches prepared ahead does not change them", "rand_skip": _UNREAD}
_DATA_MOVED = dict.fromkeys(
    ("scale", "mean_file", "crop_size", "mirror", "force_encoded_color"), "transform_param is read; write it there"
)


def ssd_messages(param: pb.LayerParameter) -> tuple[Any, Any]:
    """Return SSD's own messages of a layer, and SSD's additions to its transform_param."""
    additions, problems = read_additions(param, FORKS["ssd"].additions)
    raise_together(problems)
    return additions.get("") or fb.SSDLayer(), additions.get("transform_param") or fb.SSDTransformation()


class _SSDFed(ImageFed):
    forks = ("ssd",)
    tops = Arity(1, 2)

    def image_shape(self, param: pb.LayerParameter) -> Shape:
        (channels, high, wide), added = super().image_shape(param), ssd_messages(param)[1]
        if not high and added.crop_h and added.crop_w:
            high, wide = added.crop_h, added.crop_w
        if not high and added.resize_param.resize_mode != fb.ResizeParameter.FIT_SMALL_SIZE:
            high, wide = added.resize_param.height, added.resize_param.width
        return channels, high, wide

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        added = spec.additions("transform_param")
        resize, expand = added.resize_param, added.expand_param
        if added.HasField("resize_param") and not (resize.height and resize.width):
            yield spec.error("needs a positive height and width", "transform_param.resize_param", code="out-of-range")
        if added.HasField("expand_param") and expand.max_expand_ratio <= 1:
            field, value = "transform_param.expand_param.max_expand_ratio", expand.max_expand_ratio
            yield spec.error("must be above 1", field, value, code="out-of-range")
        if added.noise_param.convert_to_lab:
            problem = "not supported: the fork reads the bytes of its floats as values"
            yield spec.error(problem, "transform_param.noise_param.convert_to_lab", True, code="unsupported")
        if bool(added.crop_h) != bool(added.crop_w):
            yield spec.fault("needs both crop_h and crop_w", "transform_param.crop_h", code="conflict")


@register
class AnnotatedData(_SSDFed):
    """Batches of a database's images with the boxes of the objects in them."""

    type = "AnnotatedData"
    summary = "batches from an LMDB or LevelDB of AnnotatedDatums; second top: boxes"
    origin = "src/caffe/layers/annotated_data_layer.cpp"
    evidence = Evidence.RECORDED
    accounts = {
        "data_param": Account(read=("source", "batch_size", "backend"), ignored=_DATA, rejected=_DATA_MOVED),
        "annotated_data_param": Account(
            read=("batch_sampler", "anno_type"),
            ignored={"label_map_file": "names of classes for display; no layer reads it"},
        ),
        "transform_param": _TRANSFORM,
    }

    def label_shape(self, batch: int) -> Shape:
        return 1, 1, 1, 8

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        yield from super().check(spec)
        resize = spec.additions("transform_param").resize_param
        batch = spec.param.data_param.batch_size
        if resize.resize_mode == fb.ResizeParameter.FIT_SMALL_SIZE and batch != 1:
            problem = "FIT_SMALL_SIZE gives every image its own size, and needs 1"
            yield spec.error(problem, "data_param.batch_size", batch, code="conflict")
        for index, message in enumerate(spec.message("annotated_data_param").batch_sampler):
            sampler = message.sampler
            scales = 0 < sampler.min_scale <= sampler.max_scale <= 1
            if not (scales and 0 < sampler.min_aspect_ratio <= sampler.max_aspect_ratio):
                problem = "scales must be above 0 and at most 1, ratios above 0, and no minimum above its maximum"
                yield spec.error(problem, f"annotated_data_param.batch_sampler[{index}].sampler", code="out-of-range")


@register
class VideoData(_SSDFed):
    """Batches of the frames of a video file or a camera."""

    type = "VideoData"
    summary = "batches of frames of a video file or a camera; second top: zeros"
    origin = "src/caffe/layers/video_data_layer.cpp"
    evidence = Evidence.TESTS
    accounts = {
        "data_param": Account(
            read=("batch_size",),
            ignored=_DATA | {"source": "video_data_param names the video", "backend": _UNREAD},
            rejected=_DATA_MOVED,
        ),
        "video_data_param": Account(read=("video_type", "device_id", "video_file", "skip_frames")),
        "transform_param": Account(
            read=tuple(f for f in _TRANSFORM.read if f not in _VIDEO_ONLY | _VIDEO_COLOUR),
            ignored=_VIDEO_ONLY | _VIDEO_COLOUR,
        ),
    }

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        yield from super().check(spec)
        message = spec.message("video_data_param")
        if message.video_type == fb.VideoDataParameter.VIDEO and not message.video_file:
            yield spec.error("must be given", "video_data_param.video_file", code="field-missing")
