"""Ultra-Light-Fast-Generic-Face-Detector (Linzaer, MIT): faces of a 320 x 240 image, in two forms, RFB and slim.

The definitions are those of the published conversion to Caffe through ONNX: a layer's name is the number of a node, and
the nodes of batch normalisations, which were folded into the convolutions, left gaps.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from caffe_compat.build.preprocess import Preprocessing
from caffe_compat.definition.netspec import NetSpec, layers
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.nets.known._spec import message
from lq_emotion.nets.known.model import KnownModel, Part, Task

_NHWC = "permute_param { order: 0 order: 2 order: 3 order: 1 }"


class _Net:
    """A net under construction, its layers numbered as in the ONNX graph."""

    def __init__(self, first: int) -> None:
        self.spec = NetSpec()
        self.next = first
        self.fork_fields: dict[str, str] = {}
        self.input = self.spec["input"] = layers.Input(shape={"dim": [1, 3, 240, 320]})

    def put(self, top: Any, numbers: int) -> Any:
        """Name a layer by the next number, which the following layer exceeds by `numbers`."""
        self.spec[str(self.next)] = top
        self.next += numbers
        return top

    def convolution(
        self, bottom: Any, outputs: int, kernel: int = 1, *, stride: int = 1, group: int = 1, dilation: int = 1,
        normalised: bool = True, relu: bool = True,
    ) -> Any:  # fmt: skip
        """Add a convolution that keeps the size (or halves it), and a ReLU."""
        size = {f"{name}_{side}": n for name, n in (("kernel", kernel), ("stride", stride)) for side in "hw"}
        pad = dilation * (kernel // 2)
        top = layers.Convolution(
            bottom, num_output=outputs, bias_term=True, group=group, pad_h=pad, pad_w=pad, dilation=[dilation], **size
        )
        top = self.put(top, 2 if normalised else 1)
        return self.put(layers.ReLU(top), 1) if relu else top

    def separable(self, bottom: Any, inputs: int, outputs: int, *, stride: int = 1) -> Any:
        """Add a depthwise convolution and a 1 x 1 one."""
        x = self.convolution(bottom, inputs, 3, stride=stride, group=inputs)
        return self.convolution(x, outputs)

    def head(self, bottom: Any, inputs: int, outputs: int, values: int, *, last: bool) -> Any:
        """Add what predicts `values` of each anchor: (1, anchors, values)."""
        if last:
            x = self.convolution(bottom, outputs, 3, normalised=False, relu=False)
        else:
            x = self.convolution(bottom, inputs, 3, group=inputs, normalised=False)
            x = self.convolution(x, outputs, normalised=False, relu=False)
        self.fork_fields[str(self.next)] = _NHWC
        x = self.put(layers.Permute(x), 10)
        return self.put(layers.Reshape(x, shape={"dim": [1, -1, values]}), 1)


def ultra_light(*, rfb: bool) -> pb.NetParameter:
    """Return the net: input (1, 3, 240, 320) in; boxes (1, 4420, 4) and scores (1, 4420, 2) out.

    Parameters
    ----------
    rfb : with a receptive field block, dilated convolutions side by side; else a separable convolution.
    """
    net = _Net(245 if rfb else 185)
    x = net.convolution(net.input, 16, 3, stride=2)
    for inputs, outputs, stride in ((16, 32, 1), (32, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 64, 1)):
        x = net.separable(x, inputs, outputs, stride=stride)
    x = _receptive_field_block(net, x) if rfb else net.separable(x, 64, 64)
    scores, boxes = [], []
    for channels, anchors in ((64, 3), (128, 2), (256, 2), (256, 3)):
        if channels == 128 or anchors == 2:
            x = net.separable(x, channels // 2, channels, stride=2)
            for _ in range(2 if channels == 128 else 1):
                x = net.separable(x, channels, channels)
        last = channels == 256 and anchors == 3
        if last:
            x = net.convolution(x, 64, normalised=False)
            x = net.convolution(x, 64, 3, stride=2, group=64, normalised=False)
            x = net.convolution(x, 256, normalised=False)
        scores.append(net.head(x, channels, 2 * anchors, 2, last=last))
        boxes.append(net.head(x, channels, 4 * anchors, 4, last=last))
    both = net.put(layers.Concat(*scores, axis=1), 1)
    net.spec.boxes = layers.Concat(*boxes, axis=1)
    net.spec.scores = layers.Softmax(both, axis=2)
    return message(net.spec, fork_fields=net.fork_fields)


def _receptive_field_block(net: _Net, bottom: Any) -> Any:
    """Add three branches of dilation 2, 3 and 5, their sum with a shortcut, and a ReLU."""
    branches = []
    for dilation, middle in ((2, (16,)), (3, (16,)), (5, (12, 16))):
        x = net.convolution(bottom, 8, relu=False)
        for outputs in middle:
            x = net.convolution(x, outputs, 3)
        branches.append(net.convolution(x, 16, 3, dilation=dilation, relu=False))
    joined = net.convolution(net.put(layers.Concat(*branches, axis=1), 1), 64, relu=False)
    shortcut = net.convolution(bottom, 64, relu=False)
    return net.put(layers.ReLU(net.put(layers.Eltwise(joined, shortcut, operation=1), 1)), 1)


def _record(name: str, *, rfb: bool) -> KnownModel:
    preprocessing = Preprocessing(
        "RGB", resize=(240, 320), mean=np.full(3, 127, np.float32), scale=1 / 128, input="input"
    )
    return KnownModel(
        name=name,
        title=f"Ultra-Light face detector, {'RFB' if rfb else 'slim'}-320",
        task=Task.FACE_DETECTION,
        parts=(Part(name, partial(ultra_light, rfb=rfb), preprocessing),),
        licence="MIT",
        source="github.com/Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB (caffe/model)",
        trained_on="WIDER FACE, faces of 10 pixels and more",
        limits=(
            "The image is scaled to 320 x 240 whatever its shape: in a frame of 1280 pixels, faces below some 40 "
            "pixels are missed. No landmarks."
        ),
        verified=True,
    )


ULTRA_LIGHT_RFB = _record("ultra-light-rfb", rfb=True)
ULTRA_LIGHT_SLIM = _record("ultra-light-slim", rfb=False)
