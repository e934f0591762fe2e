"""SR-FCN, which makes an enlarged image sharper: four convolutions; CNN+D starts from the first three.

With `AS_CODE` the messages are those of the shipped prototxts (pretrain/, matlabscripts/recon/deploy/SRCNN_net).
"""

from __future__ import annotations

from collections.abc import Iterator

from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.nets.blocks import SIZE, Learning, convolution, declare_inputs, euclidean_loss, hdf5_data, relu, silence
from lq_emotion.nets.switches import AS_CODE, PaperSwitches

SOURCES = ("PATH/TO/CAFFE_EMOTION/Pretrain/train.txt", "PATH/TO/CAFFE_EMOTION/Pretrain/test.txt")
PATCH = 32
"""Rows and columns of the patches it learns from."""

_CHANNELS = (64, 128, 256, 1)


def sr_fcn(*, switches: PaperSwitches = AS_CODE) -> pb.NetParameter:
    """Return the net to train on patches of 32 x 32, 128 at a time, and to test 2 at a time.

    Its labels are `output_size(32)` rows and columns: with padding ``generate_train(size_label=32)`` makes them.
    """
    net = pb.NetParameter(name="Pretrain")
    for path, batch, phase in zip(SOURCES, (128, 2), (pb.TRAIN, pb.TEST), strict=True):
        net.layer.append(hdf5_data(path, batch, phase))
    net.layer.extend(body(switches))
    # EuclideanLoss divides the sum by 2 N; the mean divides it by N and the pixels of a patch
    weight = None if switches.loss == "euclidean" else 2 / output_size(PATCH, switches=switches) ** 2
    net.layer.append(euclidean_loss("conv4", weight=weight))
    return net


def sr_fcn_deploy(*, switches: PaperSwitches = AS_CODE) -> pb.NetParameter:
    """Return the net to apply: data (1, 1, 96, 96) in, conv4 (1, 1, 80, 80), or 96 with padding, out."""
    size = output_size(SIZE, switches=switches)
    net = pb.NetParameter(name="SRCNN")
    declare_inputs(net, ("data", (1, 1, SIZE, SIZE)), ("label", (1, 1, size, size)))
    net.layer.append(silence("label"))
    net.layer.extend(body(switches))
    net.layer.append(euclidean_loss("conv4", train_only=True))
    return net


def output_size(size: int, *, switches: PaperSwitches = AS_CODE) -> int:
    """Return the rows, and columns, of the output: each unpadded convolution takes two pixels on every side."""
    return size if switches.padded else size - 4 * len(_CHANNELS)


def body(switches: PaperSwitches, *, frozen: bool = False) -> Iterator[pb.LayerParameter]:
    """Yield the convolutions and their ReLUs; frozen ones do not learn."""
    bottom = "data"
    for number, channels in enumerate(_CHANNELS, 1):
        last = number == len(_CHANNELS)
        weight, bias = (0, 0) if frozen else _rates(switches, last=last)
        has_bias = last or switches.biased  # without one, no image could be brighter than its features
        learning = Learning(weight, bias if has_bias else None, "gaussian")
        name = f"conv{number}"
        yield convolution(name, bottom, channels, learning, pad=2 if switches.padded else 0)
        if not last:
            yield relu(f"relu{number}", name)
        bottom = name


def _rates(switches: PaperSwitches, *, last: bool) -> tuple[float, float]:
    if switches.sr_schedule == "paper":
        return 1, 1  # "a constant learning rate of 0.01"
    return (0.1, 0.1) if last else (1, 0.1)


def patch_shapes(switches: PaperSwitches) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of one sample's data and label, patches of images."""
    label = output_size(PATCH, switches=switches)
    return (1, PATCH, PATCH), (1, label, label)
