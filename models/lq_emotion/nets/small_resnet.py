"""A small residual net of bottleneck blocks, its layers named as in He's ResNet-50 (prototxt/known/imagenet-resnet50).

He, Zhang, Ren and Sun, arXiv 1512.03385. The first convolution of a stage, 1 x 1, has the stride.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caffe_compat.definition.netspec import NetSpec, layers, params
from caffe_compat.schema import caffe_pb2 as pb

_MAX, _AVE = params.Pooling.MAX, params.Pooling.AVE  # type: ignore[attr-defined]
_WEIGHT, _BIAS = {"lr_mult": 1, "decay_mult": 1}, {"lr_mult": 2, "decay_mult": 0}
_UNDECAYED, _STORED = {"lr_mult": 1, "decay_mult": 0}, {"lr_mult": 0}
_FILLER = {"type": "msra"}


def small_resnet(blocks: Sequence[int] = (1, 1), *, width: int = 8, size: int = 32) -> pb.NetParameter:
    """Return the net: data (1, 3, size, size) in, features pool5 (1, C, 1, 1) out.

    It has fillers and rates: BatchNorm keeps its statistics, and Scale and biases do not decay. `blocks` are the
    numbers of blocks of the stages, the first of which is called 2. `width` is the number of channels of conv1 and
    inside the blocks of the first stage; each later stage has twice as many. The features are four times those of the
    last: C = 64 here.
    """
    n = NetSpec()
    n.data = x = layers.Input(shape={"dim": [1, 3, size, size]})
    n.conv1 = x = layers.Convolution(
        x, num_output=width, bias_term=True, pad=3, kernel_size=7, stride=2, param=[_WEIGHT, _BIAS],
        weight_filler=_FILLER,
    )  # fmt: skip
    x = _normalised(n, x, "_conv1")
    n.relu_1 = x = layers.ReLU(x, in_place=True)
    n.pool1 = x = layers.Pooling(x, pool=_MAX, kernel_size=3, stride=2)
    for stage, count in enumerate(blocks, 2):
        for block in range(count):
            stride = 2 if stage > 2 and block == 0 else 1
            x = _block(n, x, f"{stage}{'abcdef'[block]}", width << (stage - 2), stride, first=block == 0)
    n.pool5 = layers.Pooling(x, pool=_AVE, global_pooling=True)
    net = n.to_proto()
    net.name = "small ResNet"
    return net


def _block(n: NetSpec, bottom: Any, block: str, channels: int, stride: int, *, first: bool) -> Any:
    """Add three convolutions and their sum with a shortcut, which has a convolution in the first block of a stage."""
    shortcut = _convolution(n, bottom, f"{block}_branch1", 4 * channels, stride=stride) if first else bottom
    x = _convolution(n, bottom, f"{block}_branch2a", channels, stride=stride)
    n[f"relu_res{block}_branch2a"] = x = layers.ReLU(x, in_place=True)
    x = _convolution(n, x, f"{block}_branch2b", channels, pad=1, kernel=3)
    n[f"relu_res{block}_branch2b"] = x = layers.ReLU(x, in_place=True)
    x = _convolution(n, x, f"{block}_branch2c", 4 * channels)
    n[f"res{block}"] = x = layers.Eltwise(shortcut, x)
    n[f"relu_res{block}"] = x = layers.ReLU(x, in_place=True)
    return x


def _convolution(n: NetSpec, x: Any, name: str, outputs: int, *, pad: int = 0, kernel: int = 1, stride: int = 1) -> Any:
    n[f"res{name}"] = x = layers.Convolution(
        x, num_output=outputs, bias_term=False, pad=pad, kernel_size=kernel, stride=stride, param=[_WEIGHT],
        weight_filler=_FILLER,
    )  # fmt: skip
    return _normalised(n, x, name)


def _normalised(n: NetSpec, x: Any, name: str) -> Any:
    n[f"bn{name}"] = x = layers.BatchNorm(x, in_place=True, use_global_stats=True, param=[_STORED] * 3)
    n[f"scale{name}"] = x = layers.Scale(x, in_place=True, bias_term=True, param=[_UNDECAYED] * 2)
    return x
