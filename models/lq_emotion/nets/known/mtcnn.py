"""MTCNN: P-Net, R-Net and O-Net, which find faces and five landmarks in a pyramid of images.

The definitions are those of the authors' det1 to det3 (github.com/kpzhang93/MTCNN_face_detection_alignment, MIT). They
were trained in MATLAB on transposed images: rows and columns of an image are exchanged before the nets take it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from caffe_compat.build.preprocess import Preprocessing
from caffe_compat.definition.netspec import NetSpec, layers, params
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.nets.known._spec import XAVIER, ZERO_BIAS, input_layer, message, rates
from lq_emotion.nets.known.conversion import facenet_mtcnn
from lq_emotion.nets.known.model import KnownModel, Package, Part, Task

_Rates = Sequence[tuple[float, float]]
_FILLED = {**XAVIER, **ZERO_BIAS}
_LEARNS = ((1, 1), (2, 1))
_LEARNS_NO_DECAY = ((1, 1), (2, 0))
_FROZEN = ((0, 0), (0, 0))
_MAX = params.Pooling.MAX  # type: ignore[attr-defined]


def det1() -> pb.NetParameter:
    """Return P-Net: data (1, 3, 12, 12) or larger in; probability of a face (prob1) and offsets (conv4-2) out."""
    n = NetSpec()
    x = input_layer(n, (1, 3, 12, 12))
    x = _prelu(n, "PReLU1", _convolution(n, "conv1", x, 10, 3, _LEARNS_NO_DECAY))
    n.pool1 = x = layers.Pooling(x, pool=_MAX, kernel_size=2, stride=2)
    x = _prelu(n, "PReLU2", _convolution(n, "conv2", x, 16, 3, _LEARNS_NO_DECAY))
    x = _prelu(n, "PReLU3", _convolution(n, "conv3", x, 32, 3, _LEARNS_NO_DECAY))
    face = _convolution(n, "conv4-1", x, 2, 1, _LEARNS_NO_DECAY)
    _convolution(n, "conv4-2", x, 4, 1, _LEARNS_NO_DECAY)
    n.prob1 = layers.Softmax(face)
    return message(n, "PNet")


def det2() -> pb.NetParameter:
    """Return R-Net: data (1, 3, 24, 24) in; probability of a face (prob1) and offsets (conv5-2) out."""
    n = NetSpec()
    x = input_layer(n, (1, 3, 24, 24))
    for number, (outputs, kernel) in enumerate(((28, 3), (48, 3), (64, 2)), 1):
        x = _convolution(n, f"conv{number}", x, outputs, kernel, _FROZEN)
        x = _prelu(n, f"prelu{number}", x, propagate_down=True)
        if number < 3:
            n[f"pool{number}"] = x = layers.Pooling(x, pool=_MAX, kernel_size=3, stride=2)
    x = _prelu(n, "prelu4", _inner_product(n, "conv4", x, 128, _FROZEN))
    face = _inner_product(n, "conv5-1", x, 2, _FROZEN)
    _inner_product(n, "conv5-2", x, 4, _LEARNS)
    n.prob1 = layers.Softmax(face)
    return message(n, "RNet")


def det3() -> pb.NetParameter:
    """Return O-Net: data (1, 3, 48, 48) in; probability (prob1), offsets (conv6-2) and landmarks (conv6-3) out."""
    n = NetSpec()
    x = input_layer(n, (1, 3, 48, 48))
    for number, (outputs, kernel, stride) in enumerate(((32, 3, 1), (64, 3, 1), (64, 3, None), (128, 2, None)), 1):
        x = _convolution(n, f"conv{number}", x, outputs, kernel, _LEARNS, stride=stride)
        x = _prelu(n, f"prelu{number}", x)
        if number < 4:
            window = 2 if number == 3 else 3
            n[f"pool{number}"] = x = layers.Pooling(x, pool=_MAX, kernel_size=window, stride=2)
    x = _inner_product(n, "conv5", x, 256, _LEARNS)
    n.drop5 = x = layers.Dropout(x, in_place=True, dropout_ratio=0.25)
    x = _prelu(n, "prelu5", x)
    face = _inner_product(n, "conv6-1", x, 2, _LEARNS)
    _inner_product(n, "conv6-2", x, 4, _LEARNS)
    _inner_product(n, "conv6-3", x, 10, _LEARNS)
    n.prob1 = layers.Softmax(face)
    return message(n, "ONet")


def _convolution(
    n: NetSpec, name: str, bottom: Any, outputs: int, kernel: int, learning: _Rates, *, stride: int | None = 1
) -> Any:
    step = {} if stride is None else {"stride": stride}
    n[name] = x = layers.Convolution(
        bottom, num_output=outputs, kernel_size=kernel, **step, **_FILLED, **rates(*learning)
    )
    return x


def _inner_product(n: NetSpec, name: str, bottom: Any, outputs: int, learning: _Rates) -> Any:
    n[name] = x = layers.InnerProduct(bottom, num_output=outputs, **_FILLED, **rates(*learning))
    return x


def _prelu(n: NetSpec, name: str, bottom: Any, **fields: Any) -> Any:
    n[name] = x = layers.PReLU(bottom, in_place=True, **fields)
    return x


_PREPROCESSING = Preprocessing("RGB", mean=np.full(3, 127.5, np.float32), scale=1 / 128)

MTCNN = KnownModel(
    name="mtcnn",
    title="MTCNN: faces of any size and five landmarks",
    task=Task.FACE_DETECTION,
    parts=(
        Part("det1", det1, _PREPROCESSING),
        Part("det2", det2, _PREPROCESSING),
        Part("det3", det3, _PREPROCESSING),
    ),
    licence="MIT",
    source="Zhang, Zhang, Li and Qiao, arXiv 1604.02878; weights from the package facenet-pytorch 2.6.0",
    trained_on="WIDER FACE (faces) and CelebA (landmarks)",
    limits=(
        "Faces below 12 pixels are not found, and few below 20. Profiles, faces turned upside down, and faces behind "
        "masks are missed more often than frontal ones. Images are transposed before these nets take them."
    ),
    package=Package(
        name="facenet-pytorch",
        version="2.6.0",
        sha256="ecb82b27beb226d106f2219efe8f829b01b87a8595badd01545679bdb9f19cca",
        files={
            "det1": "facenet_pytorch/data/pnet.pt",
            "det2": "facenet_pytorch/data/rnet.pt",
            "det3": "facenet_pytorch/data/onet.pt",
        },
        licence="facenet_pytorch-2.6.0.dist-info/LICENSE.md",
        read=facenet_mtcnn,
    ),
    verified=True,
)
