"""Nets of the Visual Geometry Group's making: EmotiW_VGG_S (emotions) and VGG-Face (people).

Their weights are published elsewhere than in the Python registry. Each builder was compared once with a public copy of
the definition; no test does so again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe_compat.build.preprocess import Preprocessing
from caffe_compat.definition.netspec import NetSpec, layers, params
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.nets.known._spec import input_layer, message
from lq_emotion.nets.known.face_crop import FaceCrop
from lq_emotion.nets.known.model import KnownModel, Part, Task
from lq_emotion.nets.known.outputs import Labels

_MAX = params.Pooling.MAX  # type: ignore[attr-defined]


def emotiw_vgg_s() -> pb.NetParameter:
    """Return Levi and Hassner's net: data (1, 3, 224, 224) in, prob (1, 7) out."""
    n = NetSpec()
    x = input_layer(n, (1, 3, 224, 224))
    x = _convolution(n, 1, x, 96, kernel_size=7, stride=2)
    n.norm1 = x = layers.LRN(x, local_size=5, alpha=0.0005, beta=0.75)
    n.pool1 = x = layers.Pooling(x, pool=_MAX, kernel_size=3, stride=3)
    x = _convolution(n, 2, x, 256, pad=2, kernel_size=5)
    n.pool2 = x = layers.Pooling(x, pool=_MAX, kernel_size=2, stride=2)
    for number in (3, 4, 5):
        x = _convolution(n, number, x, 512, pad=1, kernel_size=3)
    n.pool5 = x = layers.Pooling(x, pool=_MAX, kernel_size=3, stride=3)
    return _classified(n, x, hidden=4048, name="fc8_cat", classes=7, net="CaffeNet")


def vgg_face() -> pb.NetParameter:
    """Return VGG-Face: data (1, 3, 224, 224) in, prob (1, 2622) out; VGG-16's features are the blob fc7 (4096)."""
    n = NetSpec()
    x = input_layer(n, (1, 3, 224, 224))
    for stage, (outputs, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), 1):
        for number in range(1, count + 1):
            x = _convolution(n, f"{stage}_{number}", x, outputs, pad=1, kernel_size=3)
        n[f"pool{stage}"] = x = layers.Pooling(x, pool=_MAX, kernel_size=2, stride=2)
    return _classified(n, x, hidden=4096, name="fc8", classes=2622, net="VGG_FACE_16_layers")


def _convolution(n: NetSpec, number: int | str, x: Any, outputs: int, **fields: Any) -> Any:
    n[f"conv{number}"] = x = layers.Convolution(x, num_output=outputs, **fields)
    n[f"relu{number}"] = x = layers.ReLU(x, in_place=True)
    return x


def _classified(n: NetSpec, x: Any, *, hidden: int, name: str, classes: int, net: str) -> pb.NetParameter:
    for number in (6, 7):
        n[f"fc{number}"] = x = layers.InnerProduct(x, num_output=hidden)
        n[f"relu{number}"] = x = layers.ReLU(x, in_place=True)
        n[f"drop{number}"] = x = layers.Dropout(x, in_place=True, dropout_ratio=0.5)
    n[name] = x = layers.InnerProduct(x, num_output=classes)
    n.prob = layers.Softmax(x)
    return message(n, net)


EMOTIW_VGG_S = KnownModel(
    name="emotiw-vgg-s",
    title="EmotiW_VGG_S: seven emotions of a face in colour",
    task=Task.EMOTION,
    parts=(
        Part(
            "emotiw-vgg-s",
            emotiw_vgg_s,
            Preprocessing(
                "BGR", resize=(256, 256), crop=(224, 224), mean=np.array([103.939, 116.779, 123.68], np.float32)
            ),
        ),
    ),
    outputs=Labels(("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")),
    crop=FaceCrop(margin=0.1),
    licence="none stated; published for research (Caffe's model zoo, gist 54aee1b8b0397721aa4b)",
    source="Levi and Hassner, ICMI 2015: www.openu.ac.il/home/hassner/projects/cnn_emotions",
    trained_on="CASIA WebFace (people), then the faces of EmotiW 2015: stills of films with seven emotions",
    limits=(
        "The weights come with a mean image, mean.binaryproto, which is not known here: ImageNet's mean colour stands "
        "for it. Pass --preprocess for the authors' numbers. Trained on some 900 acted scenes. The nets for mapped LBP "
        "have the same blobs and take other images: only the one for RGB belongs to this preprocessing."
    ),
)

VGG_FACE = KnownModel(
    name="vgg-face",
    title="VGG-Face: which of 2,622 people a face is, and features of faces",
    task=Task.FACE_RECOGNITION,
    parts=(
        Part(
            "vgg-face",
            vgg_face,
            Preprocessing("BGR", resize=(224, 224), mean=np.array([93.5940, 104.7624, 129.1863], np.float32)),
        ),
    ),
    crop=FaceCrop(margin=0.15),
    licence="CC BY-NC 4.0",
    source="Parkhi, Vedaldi and Zisserman, BMVC 2015: www.robots.ox.ac.uk/~vgg/software/vgg_face",
    trained_on="2.6 million faces of 2,622 celebrities from the web",
    limits="Says who a face resembles, nothing of its emotion. To fine-tune, or for features.",
)
