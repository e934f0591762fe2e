"""CNN+D, which tells the valence of one face: three convolutions, two fully connected layers, dropout.

With `AS_CODE` the messages are those of the shipped prototxts (experiments/network/, matlabscripts/recon/deploy/).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from caffe_compat.errors import NetError
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.nets.blocks import (
    SIZE,
    Learning,
    convolution,
    declare_inputs,
    dropout,
    euclidean_loss,
    face_normalisation,
    hdf5_data,
    inner_product,
    max_pooling,
    relu,
    silence,
)
from lq_emotion.nets.switches import AS_CODE, PaperSwitches

Training = Literal["scratch", "joint", "non_joint"]
CONVOLUTION_RATES: dict[Training, float] = {"scratch": 1, "joint": 0.1, "non_joint": 0}
"""lr_mult of conv1 to conv3: all learn; they start as SR-FCN's and learn slowly; they stay SR-FCN's."""

SOURCES = ("PATH/TO/train.txt", "PATH/TO/test.txt")
_NAME = "emotion_train_val"
HIDDEN = 300
"""Hidden units of fc4 (paper 3.2)."""

_CHANNELS = (64, 128, 256)


def cnn_d(
    training: Training = "scratch",
    *,
    switches: PaperSwitches = AS_CODE,
    factor: int = 1,
    sources: Sequence[str] = SOURCES,
    batch: int = 128,
) -> pb.NetParameter:
    """Return the net to train.

    Parameters
    ----------
    training : a key of `CONVOLUTION_RATES`; how fast conv1 to conv3 learn.
    switches : paper or code.
    factor : how many times smaller the faces are, where `switches.input_size` is "own".
    sources : the lists of HDF5 files to train and to test with.
    batch : samples a step.

    Raises
    ------
    NetError
        No such training, or a factor that does not divide 96.

    Notes
    -----
    With the loss "ccc" the net ends in fc5 and has no layer for the loss: see `nets.losses.CCCLoss`.
    """
    if training not in CONVOLUTION_RATES:
        hint = ", ".join(CONVOLUTION_RATES)
        raise NetError("no such training", field="training", value=training, hint=hint)
    net = pb.NetParameter(name=_NAME)
    net.layer.extend(hdf5_data(path, batch, phase) for path, phase in zip(sources, (pb.TRAIN, pb.TEST), strict=True))
    net.layer.extend(_body(training, switches, input_size(switches, factor)))
    if switches.loss != "ccc":
        net.layer.append(euclidean_loss("fc5", weight=2 if switches.loss == "mse" else None))
    return net


def cnn_d_deploy(*, switches: PaperSwitches = AS_CODE, factor: int = 1) -> pb.NetParameter:
    """Return the net to predict with: data (1, 1, 96, 96), or smaller as `cnn_d` says, in, fc5 (1, 1) out."""
    size = input_size(switches, factor)
    net = pb.NetParameter(name=_NAME)
    declare_inputs(net, ("data", (1, 1, size, size)), ("label", (1, 1, 1, 1)))
    net.layer.append(silence("label"))
    net.layer.extend(_body("scratch", switches, size))
    net.layer.append(euclidean_loss("fc5", train_only=True))
    return net


def input_size(switches: PaperSwitches, factor: int) -> int:
    """Return the rows, and columns, of the faces that CNN+D takes.

    Raises
    ------
    NetError
        96 cannot be divided by the factor.
    """
    if factor < 1 or SIZE % factor:
        raise NetError("does not divide 96", field="factor", value=factor, hint="3, 4, 6, 8, 12 or 16")
    return SIZE // factor if switches.input_size == "own" else SIZE


def features(switches: PaperSwitches, factor: int = 1) -> int:
    """Return the number of values that pool3 gives to fc4."""
    size = input_size(switches, factor)
    for _ in _CHANNELS[:-1]:
        size = -(-_convolved(switches, size) // 2)
    size = _convolved(switches, size)
    side = -(-size // _last_window(switches, size))
    return _CHANNELS[-1] * side * side


def head(bottom: str, hidden: int = HIDDEN, *, switches: PaperSwitches = AS_CODE) -> Iterator[pb.LayerParameter]:
    """Yield fc4, its ReLU and dropout, and fc5."""
    learning = Learning(1, switches.bias_rate, zero_written=False)
    yield inner_product("fc4", bottom, hidden, learning)
    yield relu("relu4", "fc4")
    yield dropout("drop4", "fc4", 0.5)
    yield inner_product("fc5", "fc4", 1, learning)


def _body(training: Training, switches: PaperSwitches, size: int) -> Iterator[pb.LayerParameter]:
    rate = CONVOLUTION_RATES[training]
    bias = rate * switches.bias_rate if switches.biased else None
    bottom = "data"
    if switches.normalisation == "face":
        yield face_normalisation(bottom)
        bottom = "normalised"
    for number, channels in enumerate(_CHANNELS, 1):
        last = number == len(_CHANNELS)
        name, pool = f"conv{number}", f"pool{number}"
        pad = 2 if switches.padded else None if last else 0  # the authors write neither pad nor value for conv3
        learning = Learning(rate, bias, zero_written=not last)
        yield convolution(name, bottom, channels, learning, pad=pad)
        yield relu(f"relu{number}", name)
        size = _convolved(switches, size)
        yield max_pooling(pool, name, _last_window(switches, size) if last else 2)
        size = -(-size // 2)
        bottom = pool
    yield from head(bottom, switches=switches)


def _convolved(switches: PaperSwitches, size: int) -> int:
    return size if switches.padded else size - 4


def _last_window(switches: PaperSwitches, size: int) -> int:
    """Return the size of pool3's windows: 4, or what gives 2 x 2 (Caffe rounds the number of windows up)."""
    return -(-size // 2) if switches.quadrant_pooling else 4
