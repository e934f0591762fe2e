"""Residual nets of bottleneck blocks in Caffe: the published ResNet-50s, He's, SENet's and VGGFace2's, and a small one.

He, Zhang, Ren and Sun, arXiv 1512.03385; Hu, Shen and Sun, arXiv 1709.01507. In all of them the first convolution of a
stage, 1 x 1, has the stride.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from caffe_compat.definition.netspec import NetSpec, layers, params
from caffe_compat.schema import caffe_pb2 as pb

_BLOCKS = (3, 4, 6, 3)
_REDUCTION = 16
"""Channels of a block by those between SE's two layers."""
_MAX, _AVE = params.Pooling.MAX, params.Pooling.AVE  # type: ignore[attr-defined]
_CAFFE = params.Pooling.CAFFE  # type: ignore[attr-defined]


@dataclass(frozen=True)
class _Form:
    """How a family of models writes its blocks: the names of the layers, their order, and fields beyond their sizes.

    Attributes
    ----------
    block : the stage, from 2, and the block, from 0 -> its name.
    convolutions : of a block, as endings of its name.
    shortcut : the convolution in the shortcut of a stage's first block, likewise.
    norm, scale, relu : the name of a layer -> those of the layers after it.
    pad : what a 1 x 1 convolution says of its pad.
    shortcut_first : the shortcut's convolution comes before the others, else after them.
    convolution, batch_norm, scaling : what is said in every layer of the kind, such as its rates.
    """

    block: Callable[[int, int], str]
    convolutions: tuple[str, str, str]
    shortcut: str
    norm: Callable[[str], str]
    scale: Callable[[str], str]
    relu: Callable[[str], str]
    pad: Mapping[str, int]
    shortcut_first: bool
    convolution: Mapping[str, Any] = field(default_factory=dict)
    batch_norm: Mapping[str, Any] = field(default_factory=dict)
    scaling: Mapping[str, Any] = field(default_factory=dict)


_HE = _Form(
    block=lambda stage, block: f"res{stage}{'abcdef'[block]}",
    convolutions=("_branch2a", "_branch2b", "_branch2c"),
    shortcut="_branch1",
    norm=lambda name: f"bn{name.removeprefix('res')}",
    scale=lambda name: f"scale{name.removeprefix('res')}",
    relu=lambda name: f"{name}_relu",
    pad={"pad": 0},
    shortcut_first=True,
)
_SENET = _Form(
    block=lambda stage, block: f"conv{stage}_{block + 1}",
    convolutions=("_1x1_reduce", "_3x3", "_1x1_increase"),
    shortcut="_1x1_proj",
    norm=lambda name: f"{name}/bn",
    scale=lambda name: f"{name}/bn/scale",
    relu=lambda name: f"{name}/relu",
    pad={},
    shortcut_first=False,
)
_WEIGHT, _UNDECAYED, _STORED = {"lr_mult": 1, "decay_mult": 1}, {"lr_mult": 1, "decay_mult": 0}, {"lr_mult": 0}
_SMALL = replace(
    _HE,
    relu=lambda name: f"relu_{name}",
    convolution={"param": [_WEIGHT], "weight_filler": {"type": "msra"}},
    batch_norm={"param": [_STORED] * 3},
    scaling={"param": [_UNDECAYED] * 2},
)


def imagenet_resnet50(classes: int = 1000) -> pb.NetParameter:
    """Return He's ResNet-50: data (1, 3, 224, 224) in, prob (1, classes) out; its layers are called ``res2a_branch2a``.

    With 1000 classes it is the published definition (KaimingHe/deep-residual-networks, ResNet-50-deploy.prototxt) after
    Caffe's upgrade. Its conv1, unlike that of He's larger nets, has a bias.
    """
    n = NetSpec()
    n.data = x = layers.Input(name="input", shape={"dim": [1, 3, 224, 224]})  # what upgrading a declared input names it
    n.conv1 = x = layers.Convolution(x, num_output=64, pad=3, kernel_size=7, stride=2)
    n.bn_conv1 = x = _norm(x, _HE)
    n.scale_conv1 = x = _scale(x, _HE)
    n.conv1_relu = x = layers.ReLU(x, in_place=True)
    n.pool1 = x = layers.Pooling(x, pool=_MAX, kernel_size=3, stride=2)
    x = _stages(n, x, _HE)
    n.pool5 = x = layers.Pooling(x, pool=_AVE, kernel_size=7, stride=1)
    return _classified(n, x, f"fc{classes}", classes, "ResNet-50")


def vggface2_resnet50(classes: int = 8631, *, se: bool = False) -> pb.NetParameter:
    """Return the ResNet-50 of SENet and VGGFace2: data (1, 3, 224, 224) in, prob (1, classes) out.

    Its layers are called ``conv2_1_1x1_reduce``. The features of a face are the blob ``pool5/7x7_s1`` (2048). With SE
    and 1000 classes it is SENet's published definition (hujie-frank/SENet, SE-ResNet-50.prototxt). VGGFace2's own were
    not at hand: its layers are known by their names, and follow SENet's in everything else.

    Parameters
    ----------
    classes : people (VGGFace2 has 8631), or 1000 for SENet's on ImageNet.
    se : squeeze and excitation: each block's channels are weighted by two layers on their means.
    """
    n = NetSpec()
    n.data = x = layers.Input(shape={"dim": [1, 3, 224, 224]})
    n["conv1/7x7_s2"] = x = layers.Convolution(x, num_output=64, bias_term=False, pad=3, kernel_size=7, stride=2)
    n["conv1/7x7_s2/bn"] = x = _norm(x, _SENET)
    n["conv1/7x7_s2/bn/scale"] = x = _scale(x, _SENET)
    n["conv1/relu_7x7_s2"] = x = layers.ReLU(x, in_place=True)
    n["pool1/3x3_s2"] = x = layers.Pooling(x, pool=_MAX, kernel_size=3, stride=2)
    x = _stages(n, x, _SENET, se=se)
    n["pool5/7x7_s1"] = x = layers.Pooling(x, pool=_AVE, kernel_size=7, stride=1)
    return _classified(n, x, "classifier", classes, "SE-ResNet-50" if se else "ResNet-50")


def small_resnet(blocks: Sequence[int] = (1, 1), *, width: int = 8, size: int = 32) -> pb.NetParameter:
    """Return a small ResNet in He's form: data (1, 3, size, size) in, features pool5 (1, C, 1, 1) out.

    It has fillers and rates: BatchNorm keeps its statistics, and Scale and biases do not decay.

    Parameters
    ----------
    blocks : of each stage, the first of which is called 2.
    width : channels of conv1 and inside the blocks of the first stage; each later stage has twice as many. The features
        are four times those of the last: C = 64 here.
    size : rows, and columns, of an image.
    """
    n = NetSpec()
    n.data = x = layers.Input(shape={"dim": [1, 3, size, size]})
    stem = {**_SMALL.convolution, "param": [_WEIGHT, {"lr_mult": 2, "decay_mult": 0}]}
    n.conv1 = x = layers.Convolution(x, num_output=width, bias_term=True, pad=3, kernel_size=7, stride=2, **stem)
    n.bn_conv1 = x = _norm(x, _SMALL)
    n.scale_conv1 = x = _scale(x, _SMALL)
    n.relu_1 = x = layers.ReLU(x, in_place=True)
    n.pool1 = x = layers.Pooling(x, pool=_MAX, kernel_size=3, stride=2)
    x = _stages(n, x, _SMALL, blocks, width)
    n.pool5 = layers.Pooling(x, pool=_AVE, global_pooling=True)
    return _named(n, "small ResNet")


def _classified(n: NetSpec, x: Any, name: str, classes: int, net: str) -> pb.NetParameter:
    n[name] = x = layers.InnerProduct(x, num_output=classes)
    n.prob = layers.Softmax(x)
    return _named(n, net)


def _named(n: NetSpec, name: str) -> pb.NetParameter:
    message = n.to_proto()
    message.name = name
    return message


def _stages(
    n: NetSpec, x: Any, form: _Form, blocks: Sequence[int] = _BLOCKS, width: int = 64, *, se: bool = False
) -> Any:
    for stage, count in enumerate(blocks, 2):
        for block in range(count):
            stride = 2 if stage > 2 and block == 0 else 1
            x = _block(n, x, form.block(stage, block), width << (stage - 2), stride, form, first=block == 0, se=se)
    return x


def _block(
    n: NetSpec, bottom: Any, block: str, channels: int, stride: int, form: _Form, *, first: bool, se: bool
) -> Any:
    """Add three convolutions and their sum with a shortcut, which has a convolution in the first block of a stage."""
    outputs = 4 * channels

    def shortcut() -> Any:
        return _convolution(n, bottom, block + form.shortcut, outputs, 1, stride, form) if first else bottom

    side = shortcut() if form.shortcut_first else None
    reduce, middle, increase = (block + name for name in form.convolutions)
    x = _convolution(n, bottom, reduce, channels, 1, stride, form)
    n[form.relu(reduce)] = x = layers.ReLU(x, in_place=True)
    x = _convolution(n, x, middle, channels, 3, 1, form)
    n[form.relu(middle)] = x = layers.ReLU(x, in_place=True)
    x = _convolution(n, x, increase, outputs, 1, 1, form)
    weights = _excitation(n, x, block, outputs) if se else None
    side = side or shortcut()
    n[block] = x = layers.Axpy(weights, x, side) if se else layers.Eltwise(side, x)
    n[form.relu(block)] = x = layers.ReLU(x, in_place=True)
    return x


def _excitation(n: NetSpec, x: Any, block: str, channels: int) -> Any:
    n[f"{block}_global_pool"] = y = layers.Pooling(x, pool=_AVE, engine=_CAFFE, global_pooling=True)
    n[f"{block}_1x1_down"] = y = layers.Convolution(y, num_output=channels // _REDUCTION, kernel_size=1, stride=1)
    n[f"{block}_1x1_down/relu"] = y = layers.ReLU(y, in_place=True)
    n[f"{block}_1x1_up"] = y = layers.Convolution(y, num_output=channels, kernel_size=1, stride=1)
    n[f"{block}_prob"] = y = layers.Sigmoid(y, in_place=True)
    return y


def _convolution(n: NetSpec, x: Any, name: str, outputs: int, kernel: int, stride: int, form: _Form) -> Any:
    fields = {**form.convolution, **({"pad": 1} if kernel == 3 else form.pad)}
    n[name] = x = layers.Convolution(
        x, num_output=outputs, bias_term=False, kernel_size=kernel, stride=stride, **fields
    )
    n[form.norm(name)] = x = _norm(x, form)
    n[form.scale(name)] = x = _scale(x, form)
    return x


def _norm(x: Any, form: _Form) -> Any:
    return layers.BatchNorm(x, in_place=True, use_global_stats=True, **form.batch_norm)


def _scale(x: Any, form: _Form) -> Any:
    return layers.Scale(x, in_place=True, bias_term=True, **form.scaling)
