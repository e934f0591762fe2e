"""libfacedetection (Shiqi Yu, BSD-3), first and second version: an SSD that finds faces in a 320 x 240 image."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from caffe_compat.build.preprocess import Preprocessing
from caffe_compat.definition.netspec import NetSpec, layers, params
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.nets.known._spec import XAVIER, input_layer, message, rates
from lq_emotion.nets.known.model import KnownModel, Part, Task

_MAX = params.Pooling.MAX  # type: ignore[attr-defined]
_MEAN = (103.94, 116.78, 123.68)
_CHANNELS = {1: ((16, 16), (16, 16), (32, 32, 32), (64, 64, 64)), 2: ((32, 16), (32, 16), (64, 32, 64), (128, 64, 128))}
_LAST = ((128, 128, 128), (128, 128, 128))
_HEADS: dict[int, tuple[float, int, tuple[int, ...]]] = {
    3: (10.0, 8, (10, 16, 24)),
    4: (8.0, 16, (32, 48)),
    5: (5.0, 32, (64, 96)),
    6: (5.0, 64, (128, 192, 256)),
}
"""Stage -> first scale of the normalisation, step of the priors and their sizes, in pixels."""
_VARIANCES = ("0.10000000149", "0.10000000149", "0.20000000298", "0.20000000298")
"""Of a box's centre and size, as written."""
_NHWC = "permute_param { order: 0 order: 2 order: 3 order: 1 }"
_DETECTIONS = """detection_output_param { num_classes: 2 share_location: true background_label_id: 0
nms_param { nms_threshold: 0.15 top_k: 100 } code_type: CENTER_SIZE keep_top_k: 50 confidence_threshold: 0.01
visualize: false visualize_threshold: 0.3 }"""


def libfacedetection(version: int) -> pb.NetParameter:
    """Return the net: data (1, 3, 240, 320) in; detection_out (1, 1, n, 7), as SSD's, out.

    Parameters
    ----------
    version : 1 or 2, which has more channels.
    """
    n = NetSpec()
    x = input_layer(n, (1, 3, 240, 320))
    features: dict[int, Any] = {}
    for stage, channels in enumerate((*_CHANNELS[version], *_LAST), 1):
        if stage > 1:
            n[f"pool{stage - 1}"] = x = layers.Pooling(x, pool=_MAX, kernel_size=2, stride=2)
        features[stage] = x = _stage(n, stage, x, channels)
    fork_fields: dict[str, str] = {}
    heads = [_head(n, features[stage], stage, version, fork_fields) for stage in _HEADS]
    _detections(n, heads, fork_fields)
    return message(n, "YuFaceDetectNet", fork_fields)


def _stage(n: NetSpec, stage: int, x: Any, channels: Sequence[int]) -> Any:
    for number, outputs in enumerate(channels, 1):
        kernel, pad = (1, 0) if number == 2 else (3, 1)
        fields: dict[str, Any] = {"stride": 2} if (stage, number) == (1, 1) else {}
        if stage > 4:
            fields = {"dilation": [1]}
        n[f"conv{stage}_{number}"] = x = _convolution(x, outputs, kernel, pad, **fields)
        n[f"relu{stage}_{number}"] = x = layers.ReLU(x, in_place=True)
    return x


def _convolution(bottom: Any, outputs: int, kernel: int, pad: int, **fields: Any) -> Any:
    return layers.Convolution(
        bottom, num_output=outputs, bias_term=False, pad=pad, kernel_size=kernel, **fields, **XAVIER, **rates((1, 1))
    )


def _head(n: NetSpec, feature: Any, stage: int, version: int, fork_fields: dict[str, str]) -> tuple[Any, Any, Any]:
    """Add what predicts offsets and confidences of the priors of a stage; return both, flat, and the priors."""
    scale, step, sizes = _HEADS[stage]
    name = f"conv{stage}_3_norm"
    n[name] = x = layers.Normalize(feature)
    filler = f'scale_filler {{ type: "constant" value: {scale} }}'
    fork_fields[name] = f"norm_param {{ across_spatial: false {filler} channel_shared: false }}"
    flat = []
    for kind, values in (("loc", 4), ("conf", 2)):
        head = f"{name}_mbox_{kind}"
        new = "_new" if version == 1 and stage == 3 else ""
        n[f"{head}{new}"] = y = _convolution(x, values * len(sizes), 3, 1, stride=1)
        n[f"{head}_perm"] = y = layers.Permute(y)
        fork_fields[f"{head}_perm"] = _NHWC
        n[f"{head}_flat"] = y = layers.Flatten(y, axis=1)
        flat.append(y)
    n[f"{name}_mbox_priorbox"] = priors = layers.PriorBox(x, n.data)
    least = " ".join(f"min_size: {size:.1f}" for size in sizes)
    variances = " ".join(f"variance: {value}" for value in _VARIANCES)
    fork_fields[f"{name}_mbox_priorbox"] = (
        f"prior_box_param {{ {least} clip: false {variances} step: {step:.1f} offset: 0.5 }}"
    )
    return flat[0], flat[1], priors


def _detections(n: NetSpec, heads: Sequence[tuple[Any, Any, Any]], fork_fields: dict[str, str]) -> None:
    offsets, confidences, priors = zip(*heads, strict=True)
    n.mbox_loc = layers.Concat(*offsets, axis=1)
    n.mbox_conf = layers.Concat(*confidences, axis=1)
    n.mbox_priorbox = layers.Concat(*priors, axis=2)
    n.mbox_conf_reshape = layers.Reshape(n.mbox_conf, shape={"dim": [0, -1, 2]})
    n.mbox_conf_softmax = layers.Softmax(n.mbox_conf_reshape, axis=2)
    n.mbox_conf_flatten = layers.Flatten(n.mbox_conf_softmax, axis=1)
    n.detection_out = layers.DetectionOutput(
        n.mbox_loc,
        n.mbox_conf_flatten,
        n.mbox_priorbox,
        include=[{"phase": pb.TEST}],
        transform_param={"mean_value": list(_MEAN)},
    )
    fork_fields["detection_out"] = _DETECTIONS


def _record(name: str, version: int) -> KnownModel:
    preprocessing = Preprocessing("BGR", resize=(240, 320), mean=np.array(_MEAN, np.float32))
    return KnownModel(
        name=name,
        title=f"libfacedetection, version {version}",
        task=Task.FACE_DETECTION,
        parts=(Part(name, partial(libfacedetection, version), preprocessing),),
        licence="BSD-3",
        source="github.com/ShiqiYu/libfacedetection.train (2019)",
        trained_on="WIDER FACE",
        limits="Made for images of 320 x 240; faces below some 10 pixels of such an image are missed. No landmarks.",
        verified=True,
    )


LIBFACEDETECTION = _record("libfacedetection", 2)
LIBFACEDETECTION_V1 = _record("libfacedetection-v1", 1)
