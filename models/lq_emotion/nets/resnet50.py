"""ResNet-50 as its published Caffe models have it: He's for ImageNet; SENet's and VGGFace2's, with and without SE.

He, Zhang, Ren and Sun, arXiv 1512.03385; Hu, Shen and Sun, arXiv 1709.01507. In all of them the first convolution of a
stage, 1 x 1, has the stride.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from caffe_compat.definition.netspec import NetSpec, layers, params
from caffe_compat.schema import caffe_pb2 as pb

_BLOCKS = (3, 4, 6, 3)
_REDUCTION = 16
"""Channels of a block by those between SE's two layers."""
_MAX, _AVE = params.Pooling.MAX, params.Pooling.AVE  # type: ignore[attr-defined]


@dataclass(frozen=True)
class _Names:
    """How a family of models names the layers of a block, given the stage, 2 to 5, and the block, from 0."""

    block: Callable[[int, int], str]
    convolutions: tuple[str, str, str]
    shortcut: str
    norm: Callable[[str], str]
    scale: Callable[[str], str]
    relu: str


_HE = _Names(
    block=lambda stage, block: f"res{stage}{'abcdef'[block]}",
    convolutions=("_branch2a", "_branch2b", "_branch2c"),
    shortcut="_branch1",
    norm=lambda name: f"bn{name.removeprefix('res')}",
    scale=lambda name: f"scale{name.removeprefix('res')}",
    relu="_relu",
)
_SENET = _Names(
    block=lambda stage, block: f"conv{stage}_{block + 1}",
    convolutions=("_1x1_reduce", "_3x3", "_1x1_increase"),
    shortcut="_1x1_proj",
    norm=lambda name: f"{name}/bn",
    scale=lambda name: f"{name}/bn/scale",
    relu="/relu",
)


def imagenet_resnet50(classes: int = 1000) -> pb.NetParameter:
    """Return He's ResNet-50: data (1, 3, 224, 224) in, prob (1, classes) out; its layers are called ``res2a_branch2a``.

    Its conv1, unlike that of He's larger nets, has a bias. It was compared once with a public copy of the published
    definition: the same blobs, and the same outputs to the last bit.
    """
    n = NetSpec()
    x = _input(n)
    n.conv1 = x = layers.Convolution(x, num_output=64, pad=3, kernel_size=7, stride=2)
    n.bn_conv1 = x = _norm(x)
    n.scale_conv1 = x = layers.Scale(x, in_place=True, bias_term=True)
    n.conv1_relu = x = layers.ReLU(x, in_place=True)
    n.pool1 = x = layers.Pooling(x, pool=_MAX, kernel_size=3, stride=2)
    x = _stages(n, x, _HE, se=False)
    n.pool5 = x = layers.Pooling(x, pool=_AVE, kernel_size=7, stride=1)
    return _classified(n, x, f"fc{classes}", classes, "ResNet-50")


def vggface2_resnet50(classes: int = 8631, *, se: bool = False) -> pb.NetParameter:
    """Return the ResNet-50 of SENet and VGGFace2: data (1, 3, 224, 224) in, prob (1, classes) out.

    Its layers are called ``conv2_1_1x1_reduce``. The features of a face are the blob ``pool5/7x7_s1`` (2048). With SE
    and 1000 classes it was compared once with SENet's published definition: the same blobs, and the same outputs to the
    last bit. VGGFace2's own definitions were not at hand; its layers are known by their names.

    Parameters
    ----------
    classes : people (VGGFace2 has 8631), or 1000 for SENet's on ImageNet.
    se : squeeze and excitation: each block's channels are weighted by two layers on their means.
    """
    n = NetSpec()
    x = _input(n)
    n["conv1/7x7_s2"] = x = layers.Convolution(x, num_output=64, bias_term=False, pad=3, kernel_size=7, stride=2)
    n["conv1/7x7_s2/bn"] = x = _norm(x)
    n["conv1/7x7_s2/bn/scale"] = x = layers.Scale(x, in_place=True, bias_term=True)
    n["conv1/relu_7x7_s2"] = x = layers.ReLU(x, in_place=True)
    n["pool1/3x3_s2"] = x = layers.Pooling(x, pool=_MAX, kernel_size=3, stride=2)
    x = _stages(n, x, _SENET, se=se)
    n["pool5/7x7_s1"] = x = layers.Pooling(x, pool=_AVE, kernel_size=7, stride=1)
    return _classified(n, x, "classifier", classes, "SE-ResNet-50" if se else "ResNet-50")


def _input(n: NetSpec) -> Any:
    n.data = layers.Input(shape={"dim": [1, 3, 224, 224]})
    return n.data


def _classified(n: NetSpec, x: Any, name: str, classes: int, net: str) -> pb.NetParameter:
    n[name] = x = layers.InnerProduct(x, num_output=classes)
    n.prob = layers.Softmax(x)
    message = n.to_proto()
    message.name = net
    return message


def _stages(n: NetSpec, x: Any, names: _Names, *, se: bool) -> Any:
    for stage, blocks in enumerate(_BLOCKS, 2):
        for block in range(blocks):
            stride = 2 if stage > 2 and block == 0 else 1
            x = _block(n, x, names.block(stage, block), 64 << (stage - 2), stride, names, first=block == 0, se=se)
    return x


def _block(
    n: NetSpec, bottom: Any, block: str, channels: int, stride: int, names: _Names, *, first: bool, se: bool
) -> Any:
    """Add three convolutions and their sum with a shortcut, which has a convolution in the first block of a stage."""
    shortcut, outputs = bottom, 4 * channels
    if first:
        shortcut = _convolution(n, bottom, block + names.shortcut, outputs, 1, stride, names)
    reduce, middle, increase = (block + name for name in names.convolutions)
    x = _convolution(n, bottom, reduce, channels, 1, stride, names)
    n[reduce + names.relu] = x = layers.ReLU(x, in_place=True)
    x = _convolution(n, x, middle, channels, 3, 1, names)
    n[middle + names.relu] = x = layers.ReLU(x, in_place=True)
    x = _convolution(n, x, increase, outputs, 1, 1, names)
    if se:
        n[block] = x = layers.Axpy(_excitation(n, x, block, outputs), x, shortcut)
    else:
        n[block] = x = layers.Eltwise(shortcut, x)
    n[block + names.relu] = x = layers.ReLU(x, in_place=True)
    return x


def _excitation(n: NetSpec, x: Any, block: str, channels: int) -> Any:
    n[f"{block}_global_pool"] = y = layers.Pooling(x, pool=_AVE, global_pooling=True)
    n[f"{block}_1x1_down"] = y = layers.Convolution(y, num_output=channels // _REDUCTION, kernel_size=1, stride=1)
    n[f"{block}_1x1_down/relu"] = y = layers.ReLU(y, in_place=True)
    n[f"{block}_1x1_up"] = y = layers.Convolution(y, num_output=channels, kernel_size=1, stride=1)
    n[f"{block}_prob"] = y = layers.Sigmoid(y, in_place=True)
    return y


def _convolution(n: NetSpec, x: Any, name: str, outputs: int, kernel: int, stride: int, names: _Names) -> Any:
    pad = {"pad": 1} if kernel == 3 else {}
    n[name] = x = layers.Convolution(x, num_output=outputs, bias_term=False, kernel_size=kernel, stride=stride, **pad)
    n[names.norm(name)] = x = _norm(x)
    n[names.scale(name)] = x = layers.Scale(x, in_place=True, bias_term=True)
    return x


def _norm(x: Any) -> Any:
    return layers.BatchNorm(x, in_place=True, use_global_stats=True)
