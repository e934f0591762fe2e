"""CNN+D, which predicts the valence of one face: three convolutions, two fully connected layers, dropout.

With `AS_CODE` the messages are those of the shipped prototxts (experiments/network/, matlabscripts/recon/deploy/).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from caffe_compat.errors import NetError
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.nets.blocks import (
    SIZE,
    convolution,
    deploy_net,
    dropout,
    euclidean_loss,
    face_normalisation,
    inner_product,
    max_pooling,
    relu,
    training_net,
)
from lq_emotion.nets.names import FACTORS, Net
from lq_emotion.nets.switches import AS_CODE, PaperSwitches

CONVOLUTION_RATES = {Net.SCRATCH: 1.0, Net.JOINT: 0.1, Net.NON_JOINT: 0.0}
"""lr_mult of conv1 to conv3: all learn; they start as SR-FCN's and learn slowly; they stay SR-FCN's."""
SWITCHES = frozenset(("quadrant_pooling", "convolutions", "normalisation", "lr_on_plateau", "bias_rate", "loss"))
"""The switches that change CNN+D or its solver; besides `input_size`, which changes its data as well."""

SOURCES = ("PATH/TO/train.txt", "PATH/TO/test.txt")
BATCH = 128
JOINED = ("valence", "gold")
"""The blobs with the predictions and the labels of all branches of a net for faces of several sizes."""
HIDDEN = 300
"""Hidden units of fc4 (paper 3.2)."""
ONE_FRAME = "nets of your own, also of three frames, run with `caffe-compat train` and `caffe-compat test`"
"""Hint where nets or data have more channels than the luminance of one frame, as `data h5 --triplets` makes."""

_NAME = "emotion_train_val"
_CHANNELS = (64, 128, 256)


def cnn_d(
    net: Net = Net.SCRATCH, *, switches: PaperSwitches = AS_CODE, factors: Sequence[int] = (1,), batch: int = BATCH
) -> pb.NetParameter:
    """Return the net to train, whose data layers name the lists of HDF5 files as the authors do.

    `net`, a key of `CONVOLUTION_RATES`, decides how fast conv1 to conv3 learn. With `switches.input_size` "own" the
    faces are as many times smaller than 96 as their factor, which must divide it. With the loss "ccc" the net has no
    loss layer: see `training.losses.ccc_loss`.

    Faces of several factors, for Joint-OA at own sizes, need a branch for each, as a blob has images of one size. Each
    branch has its own data layers, and its share of the `batch`; the others share their parameters by name, as in
    Caffe, and the predictions are concatenated before the loss. The layers of the first branch have the names of
    CNN+D's, by which super-resolution weights are loaded and the net to apply finds its weights.
    """
    if len(factors) == 1:
        layers = [*_body(net, switches, input_size(switches, factors[0])), *valence_loss(switches)]
        return training_net(_NAME, SOURCES, (batch, batch), layers)
    if switches.input_size != "own":
        problem = "faces of several sizes need input_size 'own'"
        raise NetError(problem, code="conflict", field="input_size", value=switches.input_size)
    message = pb.NetParameter(name="emotion_mixed")
    for factor, share in zip(factors, shares(batch, len(factors)), strict=True):
        layers = list(_body(net, switches, input_size(switches, factor)))
        branch = training_net(_NAME, SOURCES, (share, share), layers)
        message.layer.extend(_named(branch, "" if factor == factors[0] else f"_{factor}"))
    for blob, joined in zip(("fc5", "label"), JOINED, strict=True):
        bottoms = [blob, *(f"{blob}_{factor}" for factor in factors[1:])]
        layer = message.layer.add(name=joined, type="Concat", bottom=bottoms, top=[joined])
        layer.concat_param.axis = 0
    message.layer.extend(valence_loss(switches, *JOINED))
    return message


def cnn_d_deploy(*, switches: PaperSwitches = AS_CODE, factor: int = 1) -> pb.NetParameter:
    """Return the net to predict with: data (1, 1, 96, 96), or smaller as for `cnn_d`, in, fc5 (1, 1) out."""
    size = input_size(switches, factor)
    return deploy_net(_NAME, size, (1, 1, 1, 1), _body(Net.SCRATCH, switches, size))


def with_outputs(net: pb.NetParameter, outputs: int) -> pb.NetParameter:
    """Let fc5 of a net, or of each branch, predict several labels at once (paper 2.1: "jointly"); change the message.

    EuclideanLoss sums the squared differences of all.
    """
    for layer in net.layer:
        if layer.type == "InnerProduct" and layer.name.partition("_")[0] == "fc5":
            layer.inner_product_param.num_output = outputs
    if "label" in net.input:
        net.input_dim[4 * list(net.input).index("label") + 1] = outputs
    return net


def shares(batch: int, branches: int) -> list[int]:
    """Divide a batch as evenly as possible, 128 by 3 as 43, 43, 42; refuse fewer samples than branches."""
    if batch < branches:
        problem = f"a batch needs one sample per size of faces ({branches})"
        raise NetError(problem, code="out-of-range", field="batch", value=batch)
    return [batch // branches + (number < batch % branches) for number in range(branches)]


def sample_shapes(switches: PaperSwitches, factor: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of one sample's data and label."""
    size = input_size(switches, factor)
    return (1, size, size), (1,)


def input_size(switches: PaperSwitches, factor: int) -> int:
    """Return the side of the faces that CNN+D takes, in pixels; refuse a factor that does not divide 96."""
    if factor < 1 or SIZE % factor:
        hint = ", ".join(map(str, FACTORS))
        raise NetError("does not divide 96", code="out-of-range", field="factor", value=factor, hint=f"one of {hint}")
    return SIZE // factor if switches.input_size == "own" else SIZE


def features(switches: PaperSwitches) -> int:
    """Return the number of values that fc4 takes from pool3 for a face of 96 x 96."""
    size = input_size(switches, 1)
    for _ in _CHANNELS[:-1]:
        size = -(-_convolved(switches, size) // 2)
    size = _convolved(switches, size)
    side = -(-size // _last_window(switches, size))
    return _CHANNELS[-1] * side * side


def head(bottom: str, hidden: int = HIDDEN, *, switches: PaperSwitches = AS_CODE) -> Iterator[pb.LayerParameter]:
    """Yield fc4, its ReLU and dropout, and fc5."""
    rates = (1, switches.bias_rate)
    yield inner_product("fc4", bottom, hidden, rates)
    yield relu("relu4", "fc4")
    yield dropout("drop4", "fc4", 0.5)
    yield inner_product("fc5", "fc4", 1, rates)


def valence_loss(switches: PaperSwitches, prediction: str = "fc5", label: str = "label") -> Iterator[pb.LayerParameter]:
    """Yield the loss of a prediction of valence; none for "ccc", which is no layer of Caffe."""
    if switches.loss != "ccc":
        yield euclidean_loss(prediction, label, weight=2 if switches.loss == "mse" else None)


def _body(net: Net, switches: PaperSwitches, size: int) -> Iterator[pb.LayerParameter]:
    rate = CONVOLUTION_RATES[net]
    rates = (rate, rate * switches.bias_rate if switches.biased else None)
    bottom = "data"
    if switches.normalisation == "face":
        yield face_normalisation(bottom)
        bottom = "normalised"
    for number, channels in enumerate(_CHANNELS, 1):
        last = number == len(_CHANNELS)
        name, pool = f"conv{number}", f"pool{number}"
        pad = 2 if switches.padded else None if last else 0  # the authors write neither pad nor value for conv3
        yield convolution(name, bottom, channels, rates, pad=pad, zero_written=not last)
        yield relu(f"relu{number}", name)
        size = _convolved(switches, size)
        yield max_pooling(pool, name, _last_window(switches, size) if last else 2)
        size = -(-size // 2)
        bottom = pool
    yield from head(bottom, switches=switches)


def _convolved(switches: PaperSwitches, size: int) -> int:
    return size if switches.padded else size - 4


def _last_window(switches: PaperSwitches, size: int) -> int:
    """Return the size of pool3's windows: 4, or the size for a 2 x 2 output (Caffe rounds the output up)."""
    return -(-size // 2) if switches.quadrant_pooling else 4


def _named(branch: pb.NetParameter, suffix: str) -> Iterator[pb.LayerParameter]:
    """Yield the layers of a branch with a suffix; parameters have the same name in all branches."""
    for layer in branch.layer:
        for number, param in enumerate(layer.param):
            param.name = f"{layer.name}_{'weight' if number == 0 else 'bias'}"
        layer.name += suffix
        layer.bottom[:] = [blob + suffix for blob in layer.bottom]
        layer.top[:] = [blob + suffix for blob in layer.top]
        yield layer
