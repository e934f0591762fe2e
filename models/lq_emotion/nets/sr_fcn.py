"""SR-FCN, which makes an enlarged image sharper, and Non-Joint, which predicts valence from SR-FCN as it is.

SR-FCN has four convolutions; CNN+D starts from the first three. With `AS_CODE` the messages are those of the shipped
prototxts (pretrain/, matlabscripts/recon/deploy/SRCNN_net).
"""

from __future__ import annotations

from collections.abc import Iterator

from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.nets.blocks import (
    SIZE,
    convolution,
    deploy_net,
    euclidean_loss,
    face_normalisation,
    relu,
    training_net,
)
from lq_emotion.nets.cnn_d import BATCH, HIDDEN, SOURCES, cnn_d, cnn_d_deploy, features, head, valence_loss
from lq_emotion.nets.names import Net
from lq_emotion.nets.switches import AS_CODE, PaperSwitches

PATCH = 32
"""Rows and columns of the patches that SR-FCN learns from."""

_SOURCES = ("PATH/TO/CAFFE_EMOTION/Pretrain/train.txt", "PATH/TO/CAFFE_EMOTION/Pretrain/test.txt")
_CHANNELS = (64, 128, 256, 1)
_REGRESSOR = "emotion_non_joint"
_CONV4 = 256 * 5 * 5 + 1  # parameters of SR-FCN's last layer, which CNN+D does not have


def sr_fcn(*, switches: PaperSwitches = AS_CODE) -> pb.NetParameter:
    """Return SR-FCN to train on patches of 32 x 32, 128 at a time, and to test 2 at a time.

    Its labels are `output_size(32)` rows and columns: with padding ``generate_train(size_label=32)`` makes them.
    """
    # EuclideanLoss divides the sum by 2 N; the mean divides it by N and the pixels of a patch
    weight = None if switches.loss == "euclidean" else 2 / output_size(PATCH, switches=switches) ** 2
    layers = [*_convolutions(switches), euclidean_loss("conv4", weight=weight)]
    return training_net("Pretrain", _SOURCES, (128, 2), layers)


def sr_fcn_deploy(*, switches: PaperSwitches = AS_CODE) -> pb.NetParameter:
    """Return SR-FCN to apply: data (1, 1, 96, 96) in, conv4 (1, 1, 80, 80), or 96 with padding, out."""
    size = output_size(SIZE, switches=switches)
    return deploy_net("SRCNN", SIZE, (1, 1, size, size), _convolutions(switches))


def output_size(size: int, *, switches: PaperSwitches = AS_CODE) -> int:
    """Return the rows, and columns, of the output: each unpadded convolution takes two pixels on every side."""
    return size if switches.padded else size - 4 * len(_CHANNELS)


def patch_shapes(switches: PaperSwitches) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of one sample's data and label, patches of images."""
    label = output_size(PATCH, switches=switches)
    return (1, PATCH, PATCH), (1, label, label)


def non_joint(*, switches: PaperSwitches = AS_CODE) -> pb.NetParameter:
    """Return the net of Non-Joint-s to train from SR-FCN's weights.

    In the code it is CNN+D with its convolutions frozen. With `switches.separate_regressor` it is as in the paper:
    SR-FCN, frozen and whole; its output goes into fc4 and fc5, with `hidden_units` between them.
    """
    if not switches.separate_regressor:
        return cnn_d(Net.NON_JOINT, switches=switches)
    return training_net(_REGRESSOR, SOURCES, (BATCH, BATCH), [*_regressor(switches), *valence_loss(switches)])


def non_joint_deploy(*, switches: PaperSwitches = AS_CODE) -> pb.NetParameter:
    """Return the net of Non-Joint-s to predict with: data (1, 1, 96, 96) in, fc5 (1, 1) out."""
    if not switches.separate_regressor:
        return cnn_d_deploy(switches=switches)
    return deploy_net(_REGRESSOR, SIZE, (1, 1, 1, 1), _regressor(switches))


def hidden_units(switches: PaperSwitches) -> int:
    """Return the hidden units of the separate regressor: as many as bring the net nearest to CNN+D's parameters.

    The text gives no number, but says that all models have "the same amount of parameters" (4.1). It is 33 as the paper
    has it: 1,336,196 parameters where CNN+D has 1,333,401; and 299 with the code's other settings, one parameter less
    than CNN+D's 2,946,649.
    """
    image = output_size(SIZE, switches=switches) ** 2
    return round((HIDDEN * (features(switches) + 2) - _CONV4) / (image + 2))  # + 2: fc4's bias and fc5's weight


def _convolutions(switches: PaperSwitches, *, frozen: bool = False) -> Iterator[pb.LayerParameter]:
    """Yield the convolutions and their ReLUs; frozen ones do not learn."""
    bottom = "data"
    for number, channels in enumerate(_CHANNELS, 1):
        last = number == len(_CHANNELS)
        weight, bias = (0, 0) if frozen else _rates(switches, last=last)
        has_bias = last or switches.biased  # without one, no image could be brighter than its features
        rates = (weight, bias if has_bias else None)
        name = f"conv{number}"
        yield convolution(name, bottom, channels, rates, filler="gaussian", pad=2 if switches.padded else 0)
        if not last:
            yield relu(f"relu{number}", name)
        bottom = name


def _rates(switches: PaperSwitches, *, last: bool) -> tuple[float, float]:
    if switches.sr_schedule == "paper":
        return 1, 1  # "a constant learning rate of 0.01"
    return (0.1, 0.1) if last else (1, 0.1)


def _regressor(switches: PaperSwitches) -> Iterator[pb.LayerParameter]:
    yield from _convolutions(switches, frozen=True)
    if switches.normalisation == "face":
        yield face_normalisation("conv4")
    bottom = "normalised" if switches.normalisation == "face" else "conv4"
    yield from head(bottom, hidden_units(switches), switches=switches)
